"""Methods beside LoRA, on the same training subsets and the same test items: what the user would otherwise have to try.

Each is a module with ``answer(tasks, settings)``: it does what all tasks share, and returns an iterator over the
:class:`Answers` of each task, which are made as they are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from ..jsonio import read_json
from ..runs import Run

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

    @property
    def seen(self) -> list[str]:
        """The classes that have an example, in their order."""
        there = set(self.labels)
        return [label for label in self.classes if label in there]


def task_of(run: Run, asked: Sequence[str], classes: Sequence[str]) -> Task:
    """Return what a run learns from its training subset, and is asked."""
    rows = read_json(run.data_file)
    return Task([row["input"] for row in rows], [row["output"] for row in rows], asked, classes, run.seed or 0)


@dataclass(frozen=True)
class Answers:
    """What one run answers."""

    answers: list[str]  # one an item, each one of the classes
    probabilities: np.ndarray  # (items, classes), rows add up to 1; 0 for a class that was never seen
    facts: dict[str, Any] = field(default_factory=dict)  # for the record: what was chosen, and how


def of_seen(task: Task, probabilities: np.ndarray, facts: dict[str, Any]) -> Answers:
    """Return the answers of a model that knows only the classes that it has seen.

    Args:
        task: what it was asked.
        probabilities: (items, seen classes).
        facts: for the record.
    """
    import numpy as np

    wide = np.zeros((len(task.asked), len(task.classes)))
    wide[:, [list(task.classes).index(label) for label in task.seen]] = probabilities
    return Answers([task.classes[index] for index in wide.argmax(1)], wide, facts)


def only(task: Task) -> Answers:
    """Return the answers where the subset has one label only: there is nothing to tell apart."""
    import numpy as np

    return of_seen(task, np.ones((len(task.asked), 1)), {})
