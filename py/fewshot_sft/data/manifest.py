"""The manifest of a data folder: what was built, from what, and the hashes that later steps depend on."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..identity import read_record
from ..jsonio import dumps, remove_leftovers, write_bytes
from ..provenance import git_revision, now, versions
from . import dataset_info
from .cleaning import Example
from .prompts import alpaca_row

FILE = "manifest.json"
SCHEMA = 2  # 1 knew one seed only
# What may differ between two builds of the same data.
CIRCUMSTANCES = ("created", "versions", "git_revision")
# What a changed file is explained by.
DECISIVE = ("task", "source", "split_seed", "sampling", "sizes", "seeds", "labels", "instruction", "document_prefix")


def split_file(examples: Sequence[Example], instruction: str) -> bytes:
    """Return the bytes of an Alpaca file: a JSON list of instruction, input and output."""
    rows = [
        {"instruction": each.instruction, "input": each.text, "output": each.answer}
        if each.answer
        else alpaca_row(each.text, each.label, instruction)
        for each in examples
    ]
    return dumps(rows).encode()


def split_record(name: str, examples: Sequence[Example], labels: Sequence[str], content: bytes) -> dict[str, Any]:
    """Return the manifest's entry of one split. ``row_sha256`` are hashes of text and label, in the file's order."""
    counts = Counter(each.label for each in examples)
    return {
        "file": f"{name}.json",
        "rows": len(examples),
        "sha256": hashlib.sha256(content).hexdigest(),
        "per_class": {label: counts[label] for label in labels},
        "row_sha256": [each.sha256 for each in examples],
    }


def never_seen(folder: Path, dataset: str) -> list[str] | None:
    """Return the labels without an example in a training subset; None when no manifest tells."""
    split = read_record(folder / FILE).get("splits", {}).get(dataset)
    return [label for label, count in split.get("per_class", {}).items() if not count] if split else None


def save(folder: Path, content: dict[str, Any], files: Mapping[str, bytes]) -> list[str]:
    """Write the files that differ from those on disk, and the manifest last; return the names written.

    Nothing is written when everything is as it was. All files are written elsewhere in the folder first and then
    renamed: a full disk leaves the folder as it was.

    Args:
        folder: the data folder, made if missing.
        content: the manifest without its circumstances.
        files: contents by file name.

    Raises:
        UserError: data files of the same names are there that no build of this kind has left.
        OSError: the folder cannot be written or the disk is full.
    """
    changed = {name: files[name] for name in pending(folder, content, files) if name != FILE}
    if not changed and _describes(folder, content):
        return []
    revision = git_revision()
    circumstances = {
        "created": now(),
        "versions": versions(("datasets", "modelscope", "pyarrow")),
        **({"git_revision": revision} if revision else {}),
    }
    changed[FILE] = dumps(content | circumstances).encode()
    _replace(folder, changed)
    return list(changed)


def pending(folder: Path, content: Mapping[str, Any], files: Mapping[str, bytes]) -> dict[str, str]:
    """Return which files :func:`save` would write, and why, for example ``{"llm_test.json": "split_seed changed"}``.

    Raises:
        UserError: data files of the same names are there that no build of this kind has left.
    """
    before, is_new = read_record(folder / FILE), not (folder / FILE).exists()
    found = {}
    for name, data in files.items():
        if _holds(folder / name, data):
            continue
        if not (folder / name).exists():
            found[name] = "not there"
        elif is_new and name != dataset_info.FILE:
            raise UserError(
                f"{folder / name}: is there already and was not made by this command (no {FILE} beside it); "
                f"move it away or choose another folder, DATA_DIR"
            )
        else:
            found[name] = why_changed(before, content)
    if found or not _describes(folder, content):
        found[FILE] = "not there" if is_new else why_changed(before, content)
    return found


def why_changed(before: Mapping[str, Any], content: Mapping[str, Any]) -> str:
    """Say which of the parts that decide the data differ from those of an earlier build."""
    if before and before.get("schema") != SCHEMA:
        return "it is of an earlier version"
    parts = [part for part in DECISIVE if part in content and before.get(part) != content[part]]
    return f"{', '.join(parts)} changed" if parts else "not as it was built"


def _describes(folder: Path, content: Mapping[str, Any]) -> bool:
    """Return whether the manifest on disk says the same, its circumstances aside."""
    before = read_record(folder / FILE)
    return {key: value for key, value in before.items() if key not in CIRCUMSTANCES} == content


def check_writable(folder: Path) -> None:
    """Raise a UserError unless ``folder`` can be written, or made; to know before hours of work, not after."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise UserError(f"{existing}: is a file, a folder was expected; choose another DATA_DIR")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise UserError(f"{existing}: cannot be written; check who owns it (`ls -ld`), or choose another DATA_DIR")


def stale(folder: Path, files: Mapping[str, bytes]) -> list[str]:
    """Return the names of training files in the folder that are not among this build's."""
    return sorted(path.name for path in folder.glob("llm_train_*.json") if path.name not in files)


def _holds(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content


def _replace(folder: Path, files: Mapping[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder, ".build.")
    staging = Path(tempfile.mkdtemp(prefix=f".build.{os.getpid()}-", dir=folder))
    try:
        for name, content in files.items():
            write_bytes(staging / name, content)
        for name in files:
            os.replace(staging / name, folder / name)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
