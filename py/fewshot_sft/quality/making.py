"""All of it for one sweep: what decides it, whether it is there, and how it is made."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from .. import runs
from ..data.readers import read_table
from ..errors import UserError, describe
from ..evaluation import questions
from ..identity import changes, read_record
from ..jsonio import read_json, sha256_file, sha256_json, write_bytes, write_json
from ..provenance import now, versions
from ..replaced import set_aside
from ..settings import Settings
from . import Labelled, unlabelled
from .spreadsheets import to_csv

VERSION = 1  # raised when something else is found in the same data
PACKAGES = ("cleanlab", "scikit-learn")
RECORD = "data_quality.json"
WORST = 10  # of each list that the record has; the CSV has all


@dataclass(frozen=True)
class DataQuality:
    """What is to be made for a sweep."""

    settings: Settings
    files: dict[str, Path]  # by split
    decides: dict[str, Any]

    @property
    def folder(self) -> Path:
        """Where the record and the lists are."""
        return self.settings.objs_dir / self.settings.sweep_name

    @property
    def identity(self) -> str:
        """The hash of what decides the result."""
        return sha256_json(self.decides)

    def why_made(self) -> str | None:
        """Return None when it is there, else why it is made ("" when there is nothing yet)."""
        path = self.folder / RECORD
        if not path.exists():
            return ""
        if self.settings.force:
            return "--force"
        found = read_record(path)
        if found.get("identity") != self.identity:
            return changes(found.get("decides"), self.decides) if "identity" in found else "a part of it had failed"
        lists = [each["file"] for each in found.values() if isinstance(each, dict) and "file" in each]
        return next((f"{name} is gone" for name in lists if not Path(name).is_file()), None)


def data_files(settings: Settings) -> dict[str, Path]:
    """Return the labelled texts' files: the largest training subset of the first seed, validation and test."""
    train = runs.dataset_name(max(runs.sizes(settings)), settings.seeds[0])
    return {
        split: settings.data_dir / f"{name}.json"
        for split, name in (("train", train), ("valid", "llm_valid"), ("test", "llm_test"))
    }


def look(settings: Settings) -> DataQuality:
    """Return what is to be made, with what decides it.

    Raises:
        UserError: data are missing.
    """
    files = data_files(settings)
    for path in files.values():
        if not path.is_file():
            raise UserError(f"{path} is missing; make it with bin/build_data.sh")
    manifest = read_record(settings.data_dir / "manifest.json")
    decides: dict[str, Any] = {
        "version": VERSION,
        "data": {"identity": manifest.get("identity"), **{split: sha256_file(path) for split, path in files.items()}},
        "versions": versions(PACKAGES),
    }
    if path := settings.unlabelled_file:
        how = [settings.text_column, settings.encoding, settings.delimiter]
        decides["unlabelled"] = {"sha256": sha256_file(path) if path.is_file() else "missing", "read_by": how}
    return DataQuality(settings, files, decides)


def make(each: DataQuality) -> dict[str, Any]:
    """Write the lists and last the record, which is returned. A part that cannot be made is absent with its reason.

    Raises:
        UserError: the data are damaged.
    """
    started, begun = now(), time.monotonic()
    rows = labelled(each)
    parts: dict[str, Callable[[], tuple[dict[str, Any], bytes]]] = {
        "suspicious": lambda: _suspicious(rows),
        "near_duplicates": lambda: _near_duplicates(rows),
    }
    absent, failed = {"label_next": "UNLABELLED_FILE is not set"}, False
    if each.settings.unlabelled_file:
        parts["label_next"] = lambda: _label_next(each.settings, rows)
        absent = {}
    made: dict[str, dict[str, Any]] = {}
    contents: dict[Path, bytes] = {}
    for part, function in parts.items():
        path = each.folder / f"{'suspicious_labels' if part == 'suspicious' else part}.csv"
        try:
            found, contents[path] = function()
            made[part] = {**found, "file": str(path)}
        except ImportError as error:
            absent[part] = f"a package is missing ({error}); install it with bin/setup.sh"
        except UserError as error:
            absent[part] = str(error)
        except Exception as error:  # of libraries, on data that nobody has thought of; the night goes on
            absent[part], failed = describe(error), True
    record = {
        "schema": runs.SCHEMA,
        "kind": "data quality",
        "name": each.settings.sweep_name,
        # What has failed is tried again.
        **({} if failed else {"identity": each.identity}),
        "decides": each.decides,
        "methods": ["tfidf"],
        "rows": len(rows),
        "files": {split: str(path) for split, path in each.files.items()},
        "checked": made.get("suspicious", {}).pop("checked", 0),
        **made,
        "absent": absent,
        "timings": {"started": started, "seconds": round(time.monotonic() - begun, 3)},
    }
    if not made.get("suspicious"):
        del record["checked"]
    path = each.folder / RECORD
    before = read_record(path)
    lists = [Path(part["file"]) for part in before.values() if isinstance(part, dict) and "file" in part]
    set_aside([*lists, path], before.get("identity"), "made anew")
    for name, content in contents.items():
        write_bytes(name, content)
    write_json(path, record)
    return record


def labelled(each: DataQuality) -> list[Labelled]:
    """Return all labelled texts, split by split, without what the prompt puts before them.

    Raises:
        UserError: a file is damaged.
    """
    found = []
    manifest = read_record(each.settings.data_dir / "manifest.json")
    prefix = str(manifest.get("document_prefix", ""))
    for split, path in each.files.items():
        if read_json(path):  # a split without rows is no error here
            items = questions.load(path.parent, path.stem.removeprefix("llm_")).items
            found += [
                Labelled(split, row, item.input.removeprefix(prefix), item.output) for row, item in enumerate(items, 1)
            ]
    return found


def _suspicious(rows: Sequence[Labelled]) -> tuple[dict[str, Any], bytes]:
    from . import suspicious

    result = suspicious.find([row.text for row in rows], [row.label for row in rows])
    columns = ("split", "row", "text", "given", "likely", "p_given", "p_likely")
    listed = [
        (*astuple(rows[one.index]), one.likely, round(one.p_given, 4), round(one.p_likely, 4)) for one in result.found
    ]
    return {
        "count": len(listed),
        "rows": [dict(zip(columns, row, strict=True)) for row in listed[:WORST]],
        "checked": result.checked,
        **({"too_rare": result.too_rare} if result.too_rare else {}),
        "measured": list(suspicious.MEASURED),
    }, to_csv(columns, listed)


def _near_duplicates(rows: Sequence[Labelled]) -> tuple[dict[str, Any], bytes]:
    from . import duplicates

    pairs = duplicates.find(rows)
    kinds = Counter(pair.kind for pair in pairs)
    fields = ("split", "row", "text", "label")
    columns = ("kind", "similarity", *(f"{which}_{field}" for which in ("first", "second") for field in fields))
    listed = [(pair.kind, round(pair.similarity, 3), *astuple(pair.first), *astuple(pair.second)) for pair in pairs]
    return {
        "count": len(pairs),
        "kinds": {kind: kinds[kind] for kind in duplicates.KINDS},
        "threshold": duplicates.SIMILAR,
        "pairs": [
            {
                "kind": kind,
                "similarity": similarity,
                "first": dict(zip(fields, both[:4], strict=True)),
                "second": dict(zip(fields, both[4:], strict=True)),
            }
            for kind, similarity, *both in listed[:WORST]
        ],
    }, to_csv(columns, listed)


def _label_next(settings: Settings, rows: Sequence[Labelled]) -> tuple[dict[str, Any], bytes]:
    from . import label_next

    known = {_plain(text) for text in [*(row.text for row in rows), *_other_texts(settings)]}
    fresh: dict[str, tuple[int, str]] = {}
    for row, text in unlabelled.read(settings):
        if (key := _plain(text)) not in known:
            fresh.setdefault(key, (row, text))
    found = list(fresh.values())
    ranked = label_next.rank([row.text for row in rows], [row.label for row in rows], [text for _, text in found])
    columns = ("row", "text", "likely", "p_likely")
    listed = [(*found[one.index], one.likely, round(one.p_likely, 4)) for one in ranked]
    return {
        "count": len(listed),
        "unlabelled": len(found),
        "rows": [dict(zip(columns, row, strict=True)) for row in listed[:WORST]],
        "method": label_next.METHOD,
        "warning": label_next.WARNING,
    }, to_csv(columns, listed)


def _other_texts(settings: Settings) -> list[str]:
    """Return the labelled texts of the user's files, of which the subsets have a part only."""
    found: list[Any] = []
    for path in (settings.train_file, settings.valid_file, settings.test_file):
        with contextlib.suppress(UserError):  # moved since the data were built from it
            if path:
                found += read_table(path, settings.text_column, None, settings.encoding, settings.delimiter).texts
    return [text for text in found if isinstance(text, str)]


def _plain(text: str) -> str:
    return " ".join(text.split())
