"""The account of what decides a result: a user's flags, as the scripts write them."""

from __future__ import annotations

import pytest

from fewshot_sft.errors import UserError
from fewshot_sft.identity import flags_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("--a 1\n --b-c=2\n--d", {"a": "1", "b_c": "2", "d": "True"}),
        ("""--a 'x  y' --b='{"k": 1}'""", {"a": "x  y", "b": '{"k": 1}'}),
        ("", {}),
    ],
)
def test_flags_are_words_as_a_shell_reads_them(text: str, expected: dict[str, str]):
    assert flags_of(text) == expected


def test_a_quote_without_its_end_is_no_traceback():
    with pytest.raises(UserError, match="a quote lacks its end"):
        flags_of("--a 'b")
