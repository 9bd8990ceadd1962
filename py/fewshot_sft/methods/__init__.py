"""Methods beside LoRA, on the same training subsets and the same test items: what the user would otherwise have to try.

Each is a module with ``answer(tasks, settings)``, which yields the :class:`Answers` of each task as it has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import UserError

if TYPE_CHECKING:
    import numpy as np


class Unavailable(UserError):
    """This method cannot run here; the message says why, and what would mend it. The others go on."""


@dataclass(frozen=True)
class Task:
    """What one run learns from, and what it is asked."""

    texts: Sequence[str]  # of the training subset
    labels: Sequence[str]  # theirs
    asked: Sequence[str]  # texts of the held-out split
    classes: Sequence[str]  # all labels, in the order of the manifest
    seed: int


@dataclass(frozen=True)
class Answers:
    """What one run answers."""

    answers: list[str]  # one an item, each one of the classes
    probabilities: np.ndarray  # (items, classes), rows add up to 1; 0 for a class that was never seen
    facts: dict[str, Any] = field(default_factory=dict)  # for the record: what was chosen, and how
