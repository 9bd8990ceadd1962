"""Summarize the sweep that ends now: print it in a few lines, write objs/<sweep>/summary.txt and summary.json.

    python py/summarize.py --status 1 --started 1767222000

Only what the steps of this sweep have left in the folder FEWSHOT_OUTCOMES counts: nothing of an earlier night is called
done. It needs 0.2 s: a container that is stopped leaves no more than its grace period.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import time
from pathlib import Path

from fewshot_sft.jsonio import dumps, write_bytes
from fewshot_sft.outcomes import outcomes
from fewshot_sft.outcomes.summary import make, to_text
from fewshot_sft.program import run
from fewshot_sft.settings import Settings


def main(argv: list[str]) -> int:
    """Write both files and print the text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--status", type=int, required=True, help="the sweep's exit status")
    parser.add_argument("--started", type=int, required=True, metavar="SECONDS", help="when, since the epoch")
    args = parser.parse_args(argv)
    settings = Settings.read()
    summary = make(Path(os.environ[outcomes.FOLDER]), settings, args.status, args.started, time.time())
    text = to_text(summary)
    folder = settings.objs_dir / settings.sweep_name
    files = {"summary.txt": text, "summary.json": dumps(summary)}
    try:
        for name, content in files.items():
            write_bytes(folder / name, content.encode("utf-8", "replace"))
    except OSError:
        # An earlier night's must not pass for this one's.
        for name in files:
            with contextlib.suppress(OSError):
                (folder / name).unlink()
        raise
    finally:
        print(text, end="", flush=True)
    return 0


if __name__ == "__main__":
    run(main)
