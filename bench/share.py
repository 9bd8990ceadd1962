"""The orchestration's own share of a sweep: the wall time in which neither llamafactory-cli nor vllm runs.

    python bench/share.py bin/sweep.sh --profile tiny

Runs the command and looks ten times a second whether one of its processes is llamafactory-cli, py/fast_trainer.py (the
same training) or vllm. What is not covered is ours: data, checks, plan, records, scoring, pictures, the time between
one program and the next. Prints seconds and share.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

THEIRS = ("/llamafactory-cli", "fast_trainer.py", "/vllm", "VLLM::")
MARK = "FEWSHOT_SHARE"
STEP = 0.1


def theirs_runs(mark: str) -> bool:
    """Return whether one of the marked processes is a trainer or a server."""
    wanted = f"{MARK}={mark}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            if any(name in command for name in THEIRS) and wanted in (folder / "environ").read_bytes().split(b"\0"):
                return True
        except OSError:
            continue
    return False


def main(command: list[str]) -> int:
    """Run, look, print."""
    mark = f"{os.getpid()}"
    begun = time.monotonic()
    covered = 0.0
    process = subprocess.Popen(command, env=os.environ | {MARK: mark})
    last = begun
    while process.poll() is None:
        time.sleep(STEP)
        now = time.monotonic()
        if theirs_runs(mark):
            covered += now - last
        last = now
    total = time.monotonic() - begun
    own = total - covered
    print(f"{total:.1f} s in all, {own:.1f} s of it without a trainer or a server: {own / total:.1%}")
    return process.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
