"""The orchestration's own share of a sweep: the wall time in which neither llamafactory-cli nor vllm runs.

    python bench/share.py bin/sweep.sh --profile tiny

Runs the command and looks ten times a second whether one of its processes is llamafactory-cli, py/fast_trainer.py (the
same training) or vllm. What is not covered is ours: data, checks, plan, records, scoring, pictures, the time between
one program and the next. Prints seconds and share, and during which of our programs it passed.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

THEIRS = ("/llamafactory-cli", "fast_trainer.py", "/vllm", "VLLM::")
MARK = "FEWSHOT_SHARE"
STEP = 0.1


def commands(mark: str) -> list[str]:
    """Return the command lines of the marked processes."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
        except OSError:
            continue
    return found


def program(running: list[str]) -> str:
    """Return the first of our Python programs among the command lines, or ``bash``."""
    for command in running:
        if ours := re.search(r"py/(\w+\.py(?: [a-z]\w+)?)", command):
            return ours[1]
    return "bash"


def main(command: list[str]) -> int:
    """Run, look, print."""
    mark = f"{os.getpid()}"
    begun = time.monotonic()
    own: Counter[str] = Counter()
    process = subprocess.Popen(command, env=os.environ | {MARK: mark})
    last = begun
    while process.poll() is None:
        time.sleep(STEP)
        running = commands(mark)
        now = time.monotonic()
        # Ours name the command that they run.
        theirs = [each for each in running if not re.search(r"py/(train|eval|build_base)\.py", each)]
        if not any(name in each for each in theirs for name in THEIRS):
            own[program(running)] += now - last
        last = now
    total = time.monotonic() - begun
    spent = own.total()
    print(f"{total:.1f} s in all, {spent:.1f} s of it without a trainer or a server: {spent / total:.1%}")
    for name, seconds in own.most_common():
        print(f"{seconds:6.1f} s  {name}")
    return process.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
