"""py/hardware.py: what it says of a record of before, without a look at the GPUs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(("count", "bf16", "status"), [(2, True, 0), (1, False, 3), (0, False, 4)])
def test_a_record_of_before_is_taken_as_it_is(tmp_path: Path, count: int, bf16: bool, status: int) -> None:
    known, out = tmp_path / "hardware.json", tmp_path / "other.json"
    known.write_text(json.dumps({"count": count, "gpus": [], "bf16": bf16}))
    before = known.read_bytes()
    command = [sys.executable, "-X", "importtime", "py/hardware.py", "--known", known, "--out", out, "--count"]
    ended = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (status, f"{count}\n")
    assert known.read_bytes() == before
    assert not out.exists()
    assert "| torch" not in ended.stderr.replace("|   ", "| ")
