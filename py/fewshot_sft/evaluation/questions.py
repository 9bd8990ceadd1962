"""The items that an evaluation asks about, checked against the manifest of their data folder."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from pathlib import Path

from ..errors import UserError
from ..jsonio import read_json, sha256_file, sha256_json
from ..runs import GENERATION

AGAIN = "build the data again with bin/build_data.sh"


@dataclass(frozen=True)
class Item:
    """One row: the system message, the human message, the true label."""

    instruction: str
    input: str
    output: str


@dataclass(frozen=True)
class EvaluationSet:
    """The rows of one split, in the file's order, the known labels in theirs, and the data file's SHA-256.

    Of free text (TASK=generation) there are no labels.
    """

    path: Path
    items: list[Item]
    labels: list[str]
    sha256: str

    @property
    def identity(self) -> str:
        """SHA-256 of the items' content."""
        return sha256_json([astuple(item) for item in self.items])


def load(folder: Path, split: str, limit: int | None = None) -> EvaluationSet:
    """Read ``llm_<split>.json`` and the labels of ``manifest.json`` beside it; only the first ``limit`` items.

    Raises:
        UserError: a file is missing, damaged, or not the one that the manifest was written with; an item's label is
            none of the manifest's (the message names its row).
    """
    path = folder / f"llm_{split}.json"
    manifest_path = folder / "manifest.json"
    manifest = read_json(manifest_path)
    labels = manifest.get("labels") if isinstance(manifest, dict) else None
    free = isinstance(manifest, dict) and manifest.get("task") == GENERATION
    if not isinstance(labels, list) or bool(labels) == free or not all(isinstance(label, str) for label in labels):
        raise UserError(f"{manifest_path}: no list of labels in it; {AGAIN}")
    rows = read_json(path)
    if not isinstance(rows, list) or not rows:
        raise UserError(f"{path}: no items in it; {AGAIN}")
    items = []
    for number, row in enumerate(rows[:limit], start=1):
        try:
            item = Item(row["instruction"], row["input"], row["output"])
        except (KeyError, TypeError):
            raise UserError(f"{path}: row {number} lacks instruction, input or output; {AGAIN}") from None
        if not free and item.output not in labels:
            raise UserError(f"{path}: row {number}: {item.output!r} is not a label of {manifest_path}; {AGAIN}")
        items.append(item)
    sha256 = sha256_file(path)
    noted = manifest.get("splits", {}).get(f"llm_{split}", {}).get("sha256")
    if noted != sha256:
        raise UserError(f"{path}: not the file that {manifest_path} describes (SHA-256 differs); {AGAIN}")
    return EvaluationSet(path, items, labels, sha256)
