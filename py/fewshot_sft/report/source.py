"""The records that a report is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..catalogue import Words
from ..errors import UserError
from ..evaluation import free_text
from ..identity import read_record
from ..jsonio import read_json
from ..results.record import Result
from ..results.sweep import Sweep
from ..runs import METHODS, SCHEMA
from ..settings import Settings


@dataclass(frozen=True)
class Source:
    """A sweep's records, read when a section asks for them."""

    sweep: Sweep
    settings: Settings
    answer: Mapping[str, Any]  # answer.json
    results: Mapping[str, Any]  # results.json
    folder: Path  # objs/<sweep>
    w: Words

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """data/<sweep>/manifest.json; empty where there is none."""
        return read_record(Path(self.settings["DATA_DIR"]) / "manifest.json")

    def log(self, kind: str) -> dict[str, Any]:
        """Return the record of the plan or of the preflight; empty where there is none."""
        return read_record(Path(self.settings["LOGS_DIR"]) / f"{self.sweep.name}.{kind}.json")

    def beside(self, kind: str) -> dict[str, Any]:
        """Return a record of objs/<sweep>; empty where there is none, or none of this version."""
        record = read_record(self.folder / f"{kind}.json")
        return record if record.get("schema") == SCHEMA else {}

    @cached_property
    def items(self) -> list[dict[str, Any]]:
        """The held-out texts, in the order of the answers; empty where they are not there."""
        try:
            found = read_json(Path(self.settings["DATA_DIR"]) / f"llm_{self.settings['SPLIT']}.json")
        except UserError:
            return []
        return found if isinstance(found, list) else []

    def text_of(self, index: int) -> str:
        """Return the text of an item, without what the prompt puts before it."""
        item = self.items[index] if index < len(self.items) else None
        text = str(item.get("input", "")) if isinstance(item, dict) else ""
        return text.removeprefix(str(self.manifest.get("document_prefix", "")))

    @property
    def times(self) -> list[str]:
        """When the evaluations began, in order, as "2026-11-26 01:28" (UTC)."""
        timings = [one.record.get("timings") or {} for one in self.sweep.evaluations]
        return sorted(str(each["started"])[:16].replace("T", " ") for each in timings if "started" in each)

    @property
    def metric(self) -> str:
        """The answer's metric."""
        return str(self.answer.get("metric", next(iter(self.sweep.evaluations[0].metrics))))

    @property
    def is_free(self) -> bool:
        """Whether it is of free text, without labels."""
        return not self.sweep.evaluations[0].labels

    @property
    def shown(self) -> Sequence[str]:
        """The metrics that are shown, the answer's among them."""
        return free_text.METRICS if self.is_free else ("accuracy", "f1")

    @cached_property
    def by_method(self) -> dict[str, list[Result]]:
        """The evaluations of each method, by size and seed."""
        found: dict[str, list[Result]] = {}
        for one in sorted(self.sweep.evaluations, key=lambda one: METHODS.index(one.run.method)):
            found.setdefault(one.series, []).append(one)
        return found

    @property
    def trained(self) -> list[Result]:
        """The evaluations of adapters, in the order of the curves."""
        return [one for own in self.by_method.values() for one in own if one.run.is_trained]

    def style_of(self, series: str) -> int:
        """Return a curve's number among the colours and markers, the same in every chart."""
        names = list(self.by_method)
        order = METHODS if set(names) <= set(METHODS) else names  # "lora tiny" and so on, of several models
        return order.index(series) % len(METHODS)

    @cached_property
    def use(self) -> str:
        """The method that the report looks into: the answer's, else the best one's."""
        if "use" in self.answer:
            return str(self.answer["use"])
        return max(self.by_method, key=lambda name: self.by_method[name][-1].metrics[self.metric])

    @cached_property
    def last(self) -> Sequence[Result]:
        """The evaluations of that method at its largest size, one a seed."""
        own = self.by_method[self.use]
        size = max(one.run.size or 0 for one in own)
        return [one for one in own if (one.run.size or 0) == size]

    @property
    def methods(self) -> Mapping[str, Any]:
        """The answer's methods."""
        found: Mapping[str, Any] = self.answer.get("methods", {})
        return found
