"""The fault matrix as a table: faults down, phases across.

    bats --formatter tap tests/faults_*.bats | python tests/helpers/fault_table.py [--write docs/reliability.md]

A test's name is ``FAULT | PHASE``. Prints Markdown; with --write it takes the place of what stands between the markers
in the document. Exit status: 0, or 1 when a test has failed or none was there.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable
from pathlib import Path

PHASES = ("data", "base model", "training", "server start", "evaluation", "results", "between runs")
BEGIN, END = "<!-- the fault matrix, from tests/helpers/fault_table.py -->", "<!-- end of the fault matrix -->"
PASSED, FAILED, SKIPPED, IMPOSSIBLE = "✓", "✗ failed", "skipped", "—"
LINE = re.compile(r"^(ok|not ok) \d+ (.+?) \| ([a-z ]+?)(?: in \d+ms)?(?: # (?i:skip).*)?$")


def parse(lines: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return fault -> phase -> state from the output of bats; what is no line of the matrix is left out.

    Raises:
        ValueError: a test names a phase that there is not, or the same fault and phase is there twice.
    """
    found: dict[str, dict[str, str]] = {}
    for line in lines:
        match = LINE.match(line.rstrip("\n"))
        if match is None:
            continue
        result, fault, phase = match.groups()
        if phase not in PHASES:
            raise ValueError(f"{fault}: no such phase: {phase}")
        states = found.setdefault(fault, {})
        if phase in states:
            raise ValueError(f"{fault} is there twice in the phase {phase}")
        skipped = re.search(r" # skip", line, re.IGNORECASE)
        states[phase] = SKIPPED if skipped else PASSED if result == "ok" else FAILED
    return found


def render(matrix: dict[str, dict[str, str]]) -> str:
    """Return the table, and a line with its totals."""
    head = ["fault", *PHASES]
    rows = [[fault, *(states.get(phase, IMPOSSIBLE) for phase in PHASES)] for fault, states in matrix.items()]
    lines = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
    states = [state for row in matrix.values() for state in row.values()]
    total = f"{len(matrix)} faults, {len(states)} tests: {states.count(PASSED)} passed"
    for state, word in ((FAILED, "failed"), (SKIPPED, "skipped")):
        total += f", {states.count(state)} {word}" * (state in states)
    return "\n".join([*lines, "", f"{total}."])


def put(document: str, table: str) -> str:
    """Return the document with the table between its markers.

    Raises:
        ValueError: the markers are not there.
    """
    head, begin, rest = document.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the markers are not there: {BEGIN} and {END}")
    return f"{head}{BEGIN}\n\n{table}\n\n{END}{tail}"


def main() -> int:
    """Read, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, help="outputs of bats, as many as there were; default: stdin")
    parser.add_argument("--write", type=Path, metavar="DOCUMENT")
    args = parser.parse_args()
    texts = [path.read_text(encoding="utf-8") for path in args.files] or [sys.stdin.read()]
    matrix = parse(line for text in texts for line in text.splitlines())
    table = render(matrix)
    print(table)
    if args.write:
        args.write.write_text(put(args.write.read_text(encoding="utf-8"), table), encoding="utf-8")
    states = [state for row in matrix.values() for state in row.values()]
    return 0 if states and FAILED not in states else 1


if __name__ == "__main__":
    sys.exit(main())
