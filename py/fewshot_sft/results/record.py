"""One evaluation record, ``objs/<run>.json``, checked: the only source of tables and pictures."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..runs import FREE_METRICS, SCHEMA, Run
from ..training import trainer_log

METRICS = ("accuracy", "precision", "recall", "f1")
# bin/eval.sh evaluates what has no record, so a record that is wrong must be moved away first.
AGAIN = "move it away and evaluate that run again with bin/eval.sh"


@dataclass(frozen=True)
class Result:
    """What a run's evaluation record tells; what was not measured is None.

    Of free text (TASK=generation) there are no labels; what is of them is empty or 0; ``correct`` are exact matches.
    """

    run: Run
    labels: tuple[str, ...]
    items: int
    correct: int
    in_labels: int
    not_in_labels: int
    support: tuple[int, ...]  # test items of each label
    metrics: dict[str, float]
    original_metrics: dict[str, float] | None  # as the original scores
    constrained: dict[str, float] | None  # the metrics of --constrain
    confusion: tuple[tuple[int, ...], ...]  # rows: true label; columns: the labels, then "(outside the labels)"
    record: dict[str, Any] = field(repr=False)  # the whole record: settings, timings, versions
    adapter: Path | None = None  # the folder, when it is still there
    training: dict[str, Any] | None = field(default=None, repr=False)
    of_model: str = ""  # where models are compared: whose of them it is

    @property
    def series(self) -> str:
        """The curve that it is a point of: ``lora``, or where models are compared ``lora tiny-deep``."""
        return f"{self.run.method} {self.of_model}".rstrip()

    @property
    def data_hash(self) -> str | None:
        """The hash of the data file that was evaluated, when the record tells it."""
        settings = self.record.get("settings")
        return settings.get("data_sha256") if isinstance(settings, dict) else None

    @property
    def losses(self) -> list[tuple[int, float]]:
        """The finite losses that the trainer logged, if it did: (optimizer step, mean loss since the line before).

        Raises:
            UserError: a line of the log is no JSON.
        """
        if self.adapter is None or not (self.adapter / trainer_log.TRAINER_LOG).is_file():
            return []
        return [(step, loss) for step, loss in trainer_log.losses(self.adapter) if math.isfinite(loss)]

    @property
    def test_data(self) -> tuple[Any, ...]:
        """What has to be the same in two records for their numbers to compare."""
        return self.labels, self.support, self.data_hash


def parse(path: Path, record: Any, run: Run) -> Result:
    """Check the record of a run's evaluation, on the split of its settings, against the run and against itself.

    Raises:
        UserError: the record lacks something or contradicts itself; the message names the file.
    """
    try:
        return _parse(record, run)
    except KeyError as error:
        raise UserError(f"{path}: corrupt record: {error.args[0]!r} is missing; {AGAIN}") from None
    except (TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path}: corrupt record: {error}; {AGAIN}") from None


def _parse(record: Any, run: Run) -> Result:
    if not isinstance(record, dict):
        raise ValueError("not a JSON object")
    expected = {"schema": SCHEMA, "kind": "evaluation", **run.fields, "split": run.settings.split}
    if run.model is None:  # which encoder it was is known of the record only
        del expected["model"]
    for key, value in expected.items():
        found = record[key] if value is not None else record.get(key)
        if found != value:
            raise ValueError(f"{key} is {found!r}, {value!r} was expected")
    labels = tuple(str(label) for label in record["labels"])
    counts = record["counts"]
    if not labels:
        return _of_free_text(record, run)
    items, correct, inside, outside = (
        _count(counts, key) for key in ("items", "correct", "in_labels", "not_in_labels")
    )
    support = tuple(_count(counts["per_class"][label], "items") for label in labels)
    confusion = tuple(tuple(_count(row, index) for index in range(len(row))) for row in record["confusion"]["matrix"])
    metrics = {key: _share(record["metrics"], key) for key in METRICS}
    original, constrained = record.get("original_scoring"), record.get("constrained")
    checks = {
        "it has no test items": items > 0,
        "in_labels and not_in_labels do not add up to items": inside + outside == items,
        "the items of the labels do not add up to items": sum(support) == items,
        "the confusion matrix has not one row a label and one column more": len(confusion) == len(labels)
        and all(len(row) == len(labels) + 1 for row in confusion),
        "the rows of the confusion matrix do not add up to the items of the labels": tuple(map(sum, confusion))
        == support,
        "the diagonal of the confusion matrix does not add up to correct": sum(
            row[index] for index, row in enumerate(confusion) if index < len(row)
        )
        == correct,
        "metrics.accuracy is not correct / items": items > 0 and math.isclose(metrics["accuracy"], correct / items),
    }
    for complaint, holds in checks.items():
        if not holds:
            raise ValueError(complaint)
    return Result(
        run=run,
        labels=labels,
        items=items,
        correct=correct,
        in_labels=inside,
        not_in_labels=outside,
        support=support,
        metrics=metrics,
        original_metrics={key: _share(original["metrics"], key) for key in METRICS} if original else None,
        constrained={key: _share(constrained["metrics"], key) for key in METRICS} if constrained is not None else None,
        confusion=confusion,
        record=record,
    )


def _of_free_text(record: Any, run: Run) -> Result:
    items, correct = (_count(record["counts"], key) for key in ("items", "correct"))
    metrics = {key: _share(record["metrics"], key) for key in FREE_METRICS}
    if not items:
        raise ValueError("it has no test items")
    if not math.isclose(metrics["exact_match"], correct / items):
        raise ValueError("metrics.exact_match is not correct / items")
    return Result(run, (), items, correct, items, 0, (), metrics, None, None, (), record)


def _count(mapping: Any, key: str | int) -> int:
    value = mapping[key]
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{key} is {value!r}, a count was expected")
    return value


def _share(mapping: Any, key: str) -> float:
    value = mapping[key]
    if not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ValueError(f"{key} is {value!r}, a number from 0 to 1 was expected")
    return float(value)
