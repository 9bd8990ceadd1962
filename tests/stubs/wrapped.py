"""Run a script of py/ as tests/stubs/python was asked to: with GPUs that are none (GPU), with little patience
(IMPATIENT, RETRIES) or much (GRACE), or stopped before a file takes its place (HOLD_WRITE).

    python wrapped.py py/train.py RUN ...

The last is where a power cut hurts most: everything is computed, the new file lies beside the old one.
"""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path
from typing import Any

import latch

replace = os.replace


def held(source: Any, target: Any, **options: Any) -> None:
    """Replace, but once, for the file that the test named, tell the test first and wait for it."""
    wanted = os.environ.get("HOLD_WRITE")
    if wanted and str(target).endswith(wanted):
        try:
            (latch.FOLDER / "held").mkdir()
        except FileExistsError:
            pass
        else:
            latch.wait(f"writing {wanted}")
    replace(source, target, **options)


def hardware() -> dict[str, Any]:
    """Return the record of the GPUs that the test asked for."""
    count = 0 if os.environ["GPU"] == "none" else int(os.environ.get("GPU_COUNT", "1"))
    gpu = {"name": "a GPU", "memory_bytes": 80 << 30, "free_bytes": 79 << 30, "compute_capability": "9.0"}
    bf16 = os.environ["GPU"] == "bf16"
    return {"schema": 1, "kind": "hardware", "count": count, "gpus": [gpu] * count, "bf16": bf16}


os.replace = held
sys.argv = sys.argv[1:]
sys.path[0] = str(Path(sys.argv[0]).parent)
if os.environ.get("GPU"):
    from fewshot_sft.planning import gpus

    gpus.examine = hardware
if sys.argv[0] == "py/eval.py":
    from fewshot_sft.evaluation import asking, together
    from fewshot_sft.serving import probe

    if os.environ.get("IMPATIENT"):
        probe.FIRST_TIMEOUT, probe.INTERVAL = 1.0, 0.1
    if retries := os.environ.get("RETRIES"):
        asking.RETRY = asking.Retry(int(retries), 0.05)
    if os.environ.get("GRACE"):
        together.GRACE = 300.0
runpy.run_path(sys.argv[0], run_name="__main__")
