"""What a sweep has left on the disk, checked, for each of the sizes RECORD_SIZES ("4", "4 8") of the sweep
RECORD_NAME ("demo").

records.py measured FOLDER                      after a fault: every record that is there is of something measured
records.py summary FOLDER STATUS [PHASE DONE UNWRITTEN]     the sweep's last word is true
records.py same FOLDER UNDISTURBED              after the rerun: all is there, once, and equal to the undisturbed
                                                sweep's
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

NAME = os.environ.get("RECORD_NAME", "demo")
SIZES = [int(size) for size in os.environ["RECORD_SIZES"].split()]
MEASURED = ("size", "split", "labels", "counts", "metrics", "per_class", "not_in_labels")
MEASURED += ("original_scoring", "confusion")
TRAINED = ("status", "examples", "tokens", "loss", "steps")
SIGNALS = {129: "HUP", 130: "INT", 143: "TERM"}
# Of results.csv: what does not depend on the speed of this run.
COLUMNS = ("size", "accuracy", "precision", "recall", "f1", "items")


def answers(work: Path, size: int) -> dict[int, dict[str, Any]]:
    """Return the whole lines of the predictions file by item; none may be there twice."""
    path = work / f"objs/{NAME}-llm_train_{size}.predictions.jsonl"
    found: dict[int, dict[str, Any]] = {}
    if not path.exists():
        return found
    for line in path.read_bytes().split(b"\n")[1:-1]:
        entry = json.loads(line)
        assert entry["index"] not in found, f"item {entry['index']} is answered twice"
        found[entry["index"]] = {key: entry[key] for key in ("pred", "label")}
    return found


def evaluation(work: Path, size: int) -> dict[str, Any] | None:
    """Return what the evaluation's record says of measured things, or None when there is none."""
    path = work / f"objs/{NAME}-llm_train_{size}.json"
    if not path.exists():
        return None
    record = json.loads(path.read_text(encoding="utf-8"))
    found = answers(work, size)
    data = work / "data/llm_test.json"  # not there while the data are built
    items = len(json.loads(data.read_text(encoding="utf-8"))) if data.exists() else record["counts"]["items"]
    assert sorted(found) == list(range(items)), f"a record, and answers to items {sorted(found)}"
    correct = sum(each["pred"] == each["label"] for each in found.values())
    assert (record["counts"]["items"], record["counts"]["correct"]) == (items, correct), record["counts"]
    return {key: record[key] for key in MEASURED}


def training(work: Path, size: int) -> dict[str, Any] | None:
    """Return what the training's record says of measured things, with its adapter's hash; None when it is not done."""
    folders = list(work.glob(f"saves/*/lora/{NAME}-llm_train_{size}"))
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
        assert record["examples"] == size, record
        assert state["global_step"] == state["max_steps"] == record["steps"], (state, record["steps"])
        # The mean is summed up in another order after a resume.
        loss = record["loss"] | {"mean": round(record["loss"]["mean"], 6)}
        return {key: record[key] for key in TRAINED} | {"adapter": adapter, "loss": loss}
    return None


def results(work: Path) -> list[dict[str, str]] | None:
    """Return the rows of results.csv, which results.json must hold as well when it is there; None without either."""
    path = work / f"objs/{NAME}/results.csv"
    if not path.exists():
        return None
    with path.open(encoding="utf-8-sig", newline="") as stream:
        rows = [{key: row[key] for key in COLUMNS} for row in csv.DictReader(stream)]
    table = work / f"objs/{NAME}/results.json"
    if table.exists():
        told = json.loads(table.read_text(encoding="utf-8"))["rows"]
        assert [str(row["size"]) for row in told] == [row["size"] for row in rows], told
    return rows


def check_summary(work: Path, status: str, phase: str = "", done: str = "", unwritten: str = "") -> None:
    """Check objs/demo/summary.json and .txt.

    Args:
        status: the sweep's; "killed": there was no one to write a summary, and none of an earlier night is there.
        phase: where it was disturbed; unless that was when all sizes were done, those are done that are in ``done``
            ("some": not all, it depends).
        unwritten: "1": the folder could not be written, so there may be none; "before": nothing in it could be
            changed from the start, so the one of an earlier night may be there.
    """
    path, text = work / f"objs/{NAME}/summary.json", work / f"objs/{NAME}/summary.txt"
    if status == "killed":
        assert [each for each in (path, text) if each.exists()] == [], "an earlier night's summary is there"
        return
    if unwritten == "before" or (unwritten and not path.exists()):
        return
    told = json.loads(path.read_text(encoding="utf-8"))
    assert told["status"] == int(status), f"summary: status {told['status']}, not {status}"
    assert [each["size"] for each in told["runs"]] == SIZES, told["runs"]
    states = {each["size"]: each["state"] for each in told["runs"]}
    for each in told["runs"]:
        if each["state"] == "done":
            record, trained = evaluation(work, each["size"]), training(work, each["size"])
            assert None not in (record, trained), f"size {each['size']} is called done"
            for name, value in record["metrics"].items():
                assert each["metrics"].get(name, value) == value, (each["metrics"], record["metrics"])
        else:
            assert "metrics" not in each, each
    found = [size for size, state in states.items() if state == "done"]
    if int(status) == 0:
        assert found == SIZES, f"status 0, and {states}"
    elif phase not in ("results", "between runs"):
        expected = [] if done == "some" else [int(size) for size in done.split()]
        assert found == expected or (done == "some" and found != SIZES), f"called done: {found}, not {done}: {states}"
    if int(status) in SIGNALS:
        assert told["ended_by"] == SIGNALS[int(status)], told
        if phase in ("training", "server start", "evaluation"):
            assert set(states.values()) <= {"interrupted", "not run", "done"}, states
    assert f"{len(found)} of {len(SIZES)} runs done" in text.read_text(encoding="utf-8")


def rest(work: Path) -> list[str]:
    """Return files that were being written when something ended: half of them would be taken for whole by no one."""
    found = (path for name in ("data", "saves", "objs") for path in (work / name).rglob(".*"))
    return sorted(str(path) for path in found if path.name.endswith(".part") or path.name.startswith(".build."))


def check_measured(work: Path) -> None:
    """Check that every record that is there is of something that was measured, whole."""
    records = {str(size): evaluation(work, size) for size in SIZES}
    for size in SIZES:
        training(work, size)
    for row in results(work) or []:
        record = records[row["size"]]
        assert record is not None, f"results without a record: {row}"
        assert abs(float(row["accuracy"]) - record["metrics"]["accuracy"]) < 1e-9, row


def check_same(work: Path, undisturbed: Path) -> None:
    """Check that everything is there, once, and equal to the undisturbed sweep's."""
    check_measured(work)
    for size in SIZES:
        trained, expected = training(work, size), training(undisturbed, size)
        assert trained is not None, f"size {size} is not trained"
        assert trained == expected, f"{trained}, undisturbed {expected}"
        record, expected = evaluation(work, size), evaluation(undisturbed, size)
        assert record is not None, f"size {size} is not evaluated"
        assert record == expected, f"{record}, undisturbed {expected}"
        assert answers(work, size) == answers(undisturbed, size), f"{answers(work, size)}"
    assert results(work) == results(undisturbed), f"{results(work)}, undisturbed {results(undisturbed)}"
    assert (work / f"objs/{NAME}/results.json").exists(), "no results.json"
    assert rest(work) == [], f"left in the middle of writing: {rest(work)}"


if __name__ == "__main__":
    what, folder, *others = sys.argv[1:]
    if what == "measured":
        check_measured(Path(folder))
    elif what == "summary":
        check_summary(Path(folder), *others)
    else:
        check_same(Path(folder), Path(others[0]))
