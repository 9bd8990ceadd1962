"""The trainer's command as it is run, from the one that bin/train.sh builds."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..identity import settings_of
from .step_counts import count, logs_nothing


def complete(words: Iterable[str], size: int, matched: int | None = None) -> list[str]:
    """Return the command with one form of each flag, for all that read them: ``--name=value`` becomes two words.

    With ``matched``, a size, it has as many steps as a training on that has.
    A training on ``size`` examples that has fewer steps than there are between two entries of its log logs each step.
    """
    found: list[str] = []
    for word in words:
        match = re.fullmatch(r"(--[A-Za-z0-9_-]+)=(.*)", word, re.DOTALL)
        found += match.groups() if match else [word]
    if matched and (steps := count(matched, settings_of(found))) != count(size, settings_of(found)):
        found += ["--max_steps", str(steps)]
    return found + ["--logging_steps", "1"] * logs_nothing(size, settings_of(found))
