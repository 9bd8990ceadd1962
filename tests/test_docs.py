"""The documents say what the scripts do: the settings tables of both READMEs are the scripts' own table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
ROW = re.compile(r"^  '([A-Z_]+)\|([^|]*)\|([^|]*)\|(.*)'$", re.MULTILINE)


def settings() -> list[tuple[str, str, str]]:
    """Return (name, default, meaning) of each setting."""
    text = (PROJECT / "bin/lib/settings.bash").read_text(encoding="utf-8")
    return [(name, default, meaning) for name, _, default, meaning in ROW.findall(text)]


def rows(readme: str) -> dict[str, tuple[str, str]]:
    """Return name -> (default, meaning) of a README's settings table."""
    text = (PROJECT / readme).read_text(encoding="utf-8")
    found = re.findall(r"^\| `([A-Z_]+)` \| (?:`([^`]*)`)? *\| (.*) \|$", text, re.MULTILINE)
    return {name: (default, meaning) for name, default, meaning in found}


def test_there_are_settings():
    assert len(settings()) > 40


@pytest.mark.parametrize("readme", ["README.md", "README_zh.md"])
def test_a_readme_lists_every_setting_with_its_default(readme):
    assert {name: default for name, (default, _) in rows(readme).items()} == {
        name: default for name, default, _ in settings()
    }


def test_the_english_table_has_the_words_of_help():
    assert {name: meaning for name, (_, meaning) in rows("README.md").items()} == {
        name: meaning for name, _, meaning in settings()
    }


def test_every_setting_is_explained_in_chinese():
    assert [
        name for name, (_, meaning) in rows("README_zh.md").items() if not re.search(r"[\u4e00-\u9fff]", meaning)
    ] == []


@pytest.mark.parametrize("readme", ["README.md", "README_zh.md"])
def test_what_a_readme_links_to_is_there(readme):
    text = (PROJECT / readme).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert links
    assert [link for link in links if not (PROJECT / link).exists()] == []
