"""Wait until the training of one size, or of all, has ended, well or not, or can end no more.

    python py/await_training.py --outcome logs/glm.outcomes/training-100.json --pid 4711

bin/eval.sh --follow evaluates sizes while others are trained. How the training ended is for its own record to tell;
this only waits, until the outcome says that it ended or the process --pid, bin/train.sh, is gone. Exit status: 0.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from fewshot_sft.errors import UserError
from fewshot_sft.outcomes.outcomes import read
from fewshot_sft.processes import is_alive
from fewshot_sft.program import run


def has_ended(outcome: Path) -> bool:
    """Return whether the outcome tells an end; a missing or damaged one does not."""
    try:
        return read(outcome).state != "running"
    except UserError:
        return False


def main(argv: list[str]) -> int:
    """Wait."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--outcome", type=Path, required=True)
    parser.add_argument("--pid", type=int, required=True)
    parser.add_argument("--interval", type=float, default=0.5, help="seconds between two looks (default: 0.5)")
    args = parser.parse_args(argv)
    while not has_ended(args.outcome) and is_alive(args.pid):
        time.sleep(args.interval)
    return 0


if __name__ == "__main__":
    run(main)
