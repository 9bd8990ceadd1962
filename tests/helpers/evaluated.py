"""Check one evaluation against what the stub's server answers: evaluated.py SIZE DATA STEM."""

from __future__ import annotations

import json
import sys
from pathlib import Path

size, data, stem = sys.argv[1:]
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "stubs"))
sys.argv = ["server.py", "ok", size]
from server import answer  # noqa: E402 - it reads sys.argv

rows = json.loads(Path(data).read_text(encoding="utf-8"))
lines = [json.loads(line) for line in Path(f"{stem}.predictions.jsonl").read_text(encoding="utf-8").splitlines()[1:]]
answers = [answer(row["input"]) for row in rows]
indices = sorted(line["index"] for line in lines)
assert indices == list(range(len(rows))), f"items answered: {indices}"
for line in lines:
    expected = (answers[line["index"]], rows[line["index"]]["output"])
    assert (line["pred"], line["label"]) == expected, f"{line}, not {expected}"
record = json.loads(Path(f"{stem}.json").read_text(encoding="utf-8"))
correct = sum(answer == row["output"] for answer, row in zip(answers, rows, strict=True))
assert (record["counts"]["items"], record["counts"]["correct"]) == (len(rows), correct), record["counts"]
assert abs(record["metrics"]["accuracy"] - correct / len(rows)) < 1e-9, record["metrics"]
