"""Summarize the sweep that ends now: print it in a few lines, write objs/<NAME>/summary.txt and summary.json.

    python py/summarize.py --outcomes logs/tiny.outcomes --name tiny --split test --sizes 100 500 --objs objs \\
        --status 1 --started 1767222000 --command 'bin/sweep.sh --sizes "100 500"'

Only what the steps of this sweep have left in --outcomes counts, so that nothing of an earlier night is called done.
It needs 0.2 s: a container that is stopped leaves no more than its grace period.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from datetime import UTC, datetime
from pathlib import Path

from fewshot_sft.jsonio import dumps, write_bytes
from fewshot_sft.outcomes.summary import make, to_text
from fewshot_sft.program import run


def main(argv: list[str]) -> int:
    """Write both files and print the text."""
    args = parse_args(argv)
    sizes = [*([0] if args.with_base else []), *args.sizes]
    summary = make(
        args.outcomes,
        args.name,
        args.split,
        sizes,
        args.objs,
        args.status,
        args.started,
        time.time(),
        args.command,
        args.reason,
    )
    text = to_text(summary)
    files = {"summary.txt": text, "summary.json": dumps(summary)}
    try:
        for name, content in files.items():
            write_bytes(args.objs / args.name / name, content.encode("utf-8", "replace"))
    except OSError:
        # An earlier night's must not pass for this one's.
        for name in files:
            with contextlib.suppress(OSError):
                (args.objs / args.name / name).unlink()
        raise
    finally:
        print(text, end="", flush=True)
    return 0


def parse_args(argv: list[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--outcomes", type=Path, required=True, help="folder of the outcomes of this sweep")
    add("--name", required=True, help="the sweep's name")
    add("--split", choices=("test", "valid"), required=True)
    add("--sizes", type=int, nargs="*", required=True, metavar="N", help="the sizes that were asked for")
    add("--with-base", action="store_true", help="the base model was asked for as well, as size 0")
    add("--objs", type=Path, required=True, help="folder of the records")
    add("--status", type=int, required=True, help="the sweep's exit status")
    add("--started", type=moment, required=True, metavar="SECONDS", help="when it started, seconds since the epoch")
    add("--command", help="what was run, to be run again")
    add("--reason", help="why the sweep ends, when no step can tell")
    return parser.parse_args(argv)


def moment(text: str) -> float:
    """Return seconds since the epoch.

    Raises:
        argparse.ArgumentTypeError: there is no such moment.
    """
    try:
        datetime.fromtimestamp(float(text), UTC)
    except (ValueError, OverflowError, OSError):
        raise argparse.ArgumentTypeError(f"{text!r}: not in seconds since the epoch") from None
    return float(text)


if __name__ == "__main__":
    run(main)
