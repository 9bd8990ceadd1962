"""The dry run: what each program would do, in a line, and the commands below it. Nothing on the disk changes.

A program notes what it would make in the file that FEWSHOT_PLANNED names, which bin/sweep.sh makes for one dry run, so
that those after it know what they cannot decide yet.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Sequence
from pathlib import Path

VARIABLE = "FEWSHOT_PLANNED"
SIZES = "sizes "


def note(what: str) -> None:
    """Note that ``what``, a file or a run's adapter, would be made."""
    if path := os.environ.get(VARIABLE):
        with Path(path).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(what) + "\n")


def note_sizes(sizes: Sequence[int]) -> None:
    """Note the sizes that the data would be made with."""
    note(f"{SIZES}{' '.join(map(str, sizes))}")


def planned_sizes() -> tuple[int, ...]:
    """Return the sizes that the data would be made with; none where that is not known."""
    noted = next((what for what in _planned() if what.startswith(SIZES)), SIZES)
    return tuple(map(int, noted.removeprefix(SIZES).split()))


def first_planned(*needed: str) -> str | None:
    """Return the first of ``needed`` that an earlier program would make, None when it would make none of them."""
    planned = _planned()
    return next((what for what in needed if what in planned), None)


def show(command: Sequence[str]) -> None:
    """Print a command below its step, as one could paste it into a shell."""
    print(f"    {shlex.join(command)}")


def _planned() -> set[str]:
    """Return what was noted."""
    path = os.environ.get(VARIABLE)
    if not path or not Path(path).is_file():
        return set()
    return {json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()}
