"""What a sweep of size 4 has left on the disk, checked: records.py measured|same FOLDER [UNDISTURBED].

``measured`` after a fault: every record that is there is of something that was measured, whole.
``same`` after the rerun: in addition everything is there, once, and equal to the undisturbed sweep's.
"""

from __future__ import annotations

import csv
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

RUN = "demo-llm_train_4"
SIZE = 4
MEASURED = ("size", "split", "labels", "counts", "metrics", "per_class", "not_in_labels", "seed_scoring", "confusion")
TRAINED = ("status", "examples", "tokens", "loss", "steps")
# Of results.csv: what does not depend on the speed of this run.
COLUMNS = ("size", "accuracy", "precision", "recall", "f1", "items")


def answers(work: Path) -> dict[int, dict[str, Any]]:
    """Return the whole lines of the predictions file by item; none may be there twice."""
    path = work / f"objs/{RUN}.predictions.jsonl"
    found: dict[int, dict[str, Any]] = {}
    if not path.exists():
        return found
    for line in path.read_bytes().split(b"\n")[1:-1]:
        entry = json.loads(line)
        assert entry["index"] not in found, f"item {entry['index']} is answered twice"
        found[entry["index"]] = {key: entry[key] for key in ("pred", "label")}
    return found


def evaluation(work: Path) -> dict[str, Any] | None:
    """Return what the evaluation's record says of measured things, or None when there is none."""
    path = work / f"objs/{RUN}.json"
    if not path.exists():
        return None
    record = json.loads(path.read_text(encoding="utf-8"))
    found = answers(work)
    data = work / "data/llm_test.json"  # not there while the data are built
    items = len(json.loads(data.read_text(encoding="utf-8"))) if data.exists() else record["counts"]["items"]
    assert sorted(found) == list(range(items)), f"a record, and answers to items {sorted(found)}"
    correct = sum(each["pred"] == each["label"] for each in found.values())
    assert (record["counts"]["items"], record["counts"]["correct"]) == (items, correct), record["counts"]
    return {key: record[key] for key in MEASURED}


def training(work: Path) -> dict[str, Any] | None:
    """Return what the training's record says of measured things, with its adapter's hash; None when it is not done."""
    folders = list(work.glob(f"saves/*/lora/{RUN}"))
    assert len(folders) <= 1, folders
    for folder in folders:
        path = folder / "training.json"
        if not path.exists():
            return None
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["status"] == "failed":
            assert record["reason"], record
            return None
        adapter = hashlib.sha256((folder / "adapter_model.safetensors").read_bytes()).hexdigest()
        state = json.loads((folder / "trainer_state.json").read_text())
        assert record["examples"] == SIZE, record
        assert state["global_step"] == state["max_steps"] == record["steps"], (state, record["steps"])
        return {key: record[key] for key in TRAINED} | {"adapter": adapter}
    return None


def results(work: Path) -> list[dict[str, str]] | None:
    """Return the rows of results.csv, which results.json must hold as well when it is there; None without either."""
    path = work / "objs/demo/results.csv"
    if not path.exists():
        return None
    with path.open(encoding="utf-8-sig", newline="") as stream:
        rows = [{key: row[key] for key in COLUMNS} for row in csv.DictReader(stream)]
    summary = work / "objs/demo/results.json"
    if summary.exists():
        told = json.loads(summary.read_text(encoding="utf-8"))["rows"]
        assert [str(row["size"]) for row in told] == [row["size"] for row in rows], told
    return rows


def rest(work: Path) -> list[str]:
    """Return files that were being written when something ended: half of them would be taken for whole by no one."""
    found = (path for name in ("data", "saves", "objs") for path in (work / name).rglob(".*"))
    return sorted(str(path) for path in found if path.name.endswith(".part") or path.name.startswith(".build."))


def main(what: str, work: Path, undisturbed: Path | None = None) -> None:
    """Check."""
    record = evaluation(work)
    trained = training(work)
    shown = results(work)
    if shown is not None:
        assert record is not None, "results without a record"
        assert [row["size"] for row in shown] == [str(SIZE)], shown
        assert abs(float(shown[0]["accuracy"]) - record["metrics"]["accuracy"]) < 1e-9, shown
    if what == "measured":
        return
    assert undisturbed is not None
    assert trained is not None, "it is not trained"
    assert trained == training(undisturbed), f"{trained}, undisturbed {training(undisturbed)}"
    assert record is not None, "it is not evaluated"
    expected = evaluation(undisturbed)
    assert record == expected, f"{record}, undisturbed {expected}"
    assert answers(work) == answers(undisturbed), f"{answers(work)}"
    assert shown == results(undisturbed), f"{shown}, undisturbed {results(undisturbed)}"
    assert (work / "objs/demo/results.json").exists(), "no results.json"
    assert rest(work) == [], f"left in the middle of writing: {rest(work)}"


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *map(Path, sys.argv[3:]))
