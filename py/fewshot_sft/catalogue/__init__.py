"""Every word of the answer and of the report, in each language: ``<language>.json``.

Of free text (TASK=generation) the same with other words for what there are no labels of: ``free_text.json``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent
OF_LABELS = "absent.free_text"  # of free text, too, this is said of labels


class Words:
    """The texts of one language by their keys, and how it writes numbers."""

    def __init__(self, language: str, folder: Path = FOLDER, others: Mapping[str, str] | None = None) -> None:
        """Read the catalogue of ``language``; with ``others`` in place of some words."""
        self.language = language
        self.texts: dict[str, str] = json.loads((folder / f"{language}.json").read_text(encoding="utf-8"))
        for word, other in (others or {}).items():
            for key in self.texts.keys() - {OF_LABELS}:
                self.texts[key] = re.sub(rf"{word}(?!}})", other, self.texts[key])  # not the name of a value

    def __call__(self, key: str, **values: object) -> str:
        """Return a text with the values in their places."""
        return self.texts[key].format(**values)

    def score(self, score: Mapping[str, float]) -> str:
        """Return ``mean`` with its interval, ``low`` to ``high``."""
        numbers = {key: f"{score[key]:.3f}" for key in ("mean", "low", "high")}
        return self("number.interval", **numbers)

    def gain(self, gain: Mapping[str, float]) -> str:
        """Return a ``median`` with its 80 % interval, all with their signs."""
        low, high = signed(gain["low80"]), signed(gain["high80"])
        return self("number.gain", value=signed(gain["median"]), low=low, high=high)

    def difference(self, value: float, low: float, high: float) -> str:
        """Return a difference with its interval, all with their signs."""
        return self("number.interval", mean=signed(value), low=signed(low), high=signed(high))

    def labels(self, size: int | None) -> str:
        """Return a number of labels; 0 and None are none."""
        return self("number.labels", count=size) if size else self("number.no_labels")

    def percent(self, p: float) -> str:
        """Return a probability; not to be sure to the last percent."""
        if p < 0.01:
            return self("number.below_1_percent")
        return self("number.above_99_percent") if p > 0.99 else self("number.percent", value=f"{100 * p:.0f}")

    def duration(self, seconds: float) -> str:
        """Return a duration in its largest unit."""
        if seconds >= 3600:
            return self("number.hours", value=f"{seconds / 3600:.1f}")
        if seconds >= 90:
            return self("number.minutes", value=f"{seconds / 60:.0f}")
        return self("number.seconds", value=max(1, round(seconds)))


@cache
def words(language: str = "en", free_text: bool = False) -> Words:
    """Return the catalogue of a language, ``en`` or ``zh``; that of free text where there are no labels."""
    others = json.loads((FOLDER / "free_text.json").read_text(encoding="utf-8"))[language] if free_text else None
    return Words(language, others=others)


def signed(value: float) -> str:
    """Return a difference of scores with its sign."""
    return f"{round(value, 3) + 0.0:+.3f}"  # no -0.000


def money(value: float) -> str:
    """Return a price to the hundredth, a smaller one to its first digits."""
    return f"{value:.2f}" if value == 0 or value >= 0.01 else f"{value:.2g}"
