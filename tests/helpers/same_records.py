"""Compare two folders of a sweep's outputs: every record must be equal but for what depends on when and how fast.

    python same_records.py [--real] FOLDER FOLDER

The weights of the adapters are compared byte by byte. With --real the hashes that take an adapter's configuration in
are left out: peft writes ``target_modules`` in the order of a set, another one in each process.

Exit status: 0, or 1 with what differs.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any

# Keys of moments, seconds and what is computed of them, of ports and processes.
TIMED = re.compile(
    r"started|finished|seconds|.*_seconds|timings|.*per_second|written|created|cost.*|gpu_hours|url|pid|replaced|"
    r"train_runtime|time|hours|.*_time|made|date|resumed_at|.*_hours|git_revision"
)
OF_CONFIGURATION = re.compile(r"adapter|identity")
# Of a whole sweep, which tells how long it took, in words as well; pictures and pages are made of the records.
WHOLE = {"summary.json", "answer.json", "results.json"}
REAL = sys.argv[1] == "--real"
LEFT_OUT = re.compile(f"{TIMED.pattern}|{OF_CONFIGURATION.pattern}") if REAL else TIMED


def records(folder: Path) -> dict[str, Any]:
    """Return the records by their path."""
    paths = [path for name in ("data", "objs") for path in (folder / name).rglob("*.json*") if path.suffix != ".lock"]
    paths += (folder / "saves").rglob("training.json")
    found = {}
    for path in paths:
        if path.name in WHOLE:
            continue
        text = path.read_text(encoding="utf-8")
        lines = list(filter(None, text.split("\n"))) if path.suffix == ".jsonl" else [text]
        try:
            found[str(path.relative_to(folder))] = [plain(json.loads(line)) for line in lines]
        except json.JSONDecodeError as error:
            sys.exit(f"{path}: {error}")
    for path in (folder / "saves").glob("*/lora/*/adapter_model.safetensors"):
        found[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def plain(value: Any) -> Any:
    """Return the value without what is timed."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items() if not LEFT_OUT.fullmatch(key)}
    if isinstance(value, list):
        return [plain(each) for each in value]
    return value


def differences(one: Any, other: Any, where: str) -> list[str]:
    """Return what differs, with its place."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = sorted({*one, *other})
        return [said for key in keys for said in differences(one.get(key), other.get(key), f"{where} {key}")]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [said for at, (a, b) in pairs for said in differences(a, b, f"{where} {at}")]
    return [] if one == other else [f"{where}: {str(one)[:200]} | {str(other)[:200]}"]


if __name__ == "__main__":
    first, second = (records(Path(folder)) for folder in sys.argv[-2:])
    found = differences(first, second, "")
    assert len(first) > 4, sorted(first)
    print(f"{len(first)} records", *found, sep="\n")
    sys.exit(bool(found))
