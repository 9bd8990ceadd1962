"""docs/reliability.md shows the fault matrix that the tests are: the same faults, in the same phases."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import fault_table
import pytest

PROJECT = Path(__file__).resolve().parents[1]


def registered() -> dict[str, set[str]]:
    """Return fault -> phases, as the files of the matrix register them."""
    # `bats --count` tells how many only: the files are asked with a `bats_test_function` that prints.
    ask = """
      bats_require_minimum_version() { :; }
      load() { [[ $1 != helpers/faults ]] || source "tests/$1.bash"; }
      bats_test_function() { printf '%s\\n' "$2"; }
      for file in tests/faults_*.bats; do source "$file"; done
    """
    environment = os.environ | {"MATRIX": "all"}
    done = subprocess.run(["bash", "-c", ask], cwd=PROJECT, env=environment, check=True, capture_output=True, text=True)
    found: dict[str, set[str]] = {}
    for line in done.stdout.splitlines():
        fault, _, phase = line.partition(" | ")
        found.setdefault(fault, set()).add(phase)
    return found


def documented() -> dict[str, dict[str, str]]:
    """Return fault -> phase -> state of the document's table."""
    text = (PROJECT / "docs/reliability.md").read_text(encoding="utf-8")
    table = text.partition(fault_table.BEGIN)[2].partition(fault_table.END)[0]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines() if line[:1] == "|"]
    assert rows[0] == ["fault", *fault_table.PHASES]
    return {fault: dict(zip(fault_table.PHASES, states, strict=True)) for fault, *states in rows[2:]}


def test_the_document_has_the_matrix_that_is_tested():
    shown = {
        fault: {phase for phase, state in states.items() if state != fault_table.IMPOSSIBLE}
        for fault, states in documented().items()
    }
    assert shown == registered()


def test_there_are_at_least_25_faults_and_none_is_shown_as_failed():
    states = [state for row in documented().values() for state in row.values()]
    assert len(documented()) >= 25
    assert fault_table.FAILED not in states


OUTPUT = """1..5
ok 1 TERM | data in 12ms
not ok 2 TERM | training
# why
ok 3 disk full | data # skip no mount here
ok 4 disk full | server start in 3ms # skip no mount here
ok 5 something else
"""


def test_a_table_is_made_of_what_bats_says():
    assert fault_table.render(fault_table.parse(OUTPUT.splitlines())).splitlines() == [
        "| fault | data | base model | training | server start | evaluation | results | between runs |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        "| TERM | ✓ | — | ✗ failed | — | — | — | — |",
        "| disk full | skipped | — | — | skipped | — | — | — |",
        "",
        "2 faults, 4 tests: 1 passed, 1 failed, 2 skipped.",
    ]


def test_the_table_takes_the_place_of_the_one_before():
    before = f"above\n{fault_table.BEGIN}\nold\n{fault_table.END}\nbelow\n"
    after = fault_table.put(before, "new")
    assert after == f"above\n{fault_table.BEGIN}\n\nnew\n\n{fault_table.END}\nbelow\n"
    assert fault_table.put(after, "new") == after
    with pytest.raises(ValueError, match="markers"):
        fault_table.put("no table here", "new")


@pytest.mark.parametrize("line", ["ok 1 TERM | lunch", "ok 1 TERM | data\nok 2 TERM | data"])
def test_a_name_that_fits_nowhere_is_an_error(line: str):
    with pytest.raises(ValueError, match="TERM"):
        fault_table.parse(line.splitlines())
