"""Run a script of py/, but stop it before a file takes its place, as tests/stubs/python was asked to (HOLD_WRITE).

    python wrapped.py py/infer_eval.py --run ...

The script is then where a power cut hurts most: everything is computed, the new file lies beside the old one.
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
    if str(target).endswith(os.environ["HOLD_WRITE"]):
        try:
            (latch.FOLDER / "held").mkdir()
        except FileExistsError:
            pass
        else:
            latch.wait(f"writing {os.environ['HOLD_WRITE']}")
    replace(source, target, **options)


os.replace = held
sys.argv = sys.argv[1:]
sys.path[0] = str(Path(sys.argv[0]).parent)
runpy.run_path(sys.argv[0], run_name="__main__")
