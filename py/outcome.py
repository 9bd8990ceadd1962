"""Note how a step of the sweep stands, for the summary at its end.

    python py/outcome.py --step data --state running
    python py/outcome.py --step data --state failed
    python py/outcome.py --note 'no free port'

``running`` begins the file anew, in the folder FEWSHOT_OUTCOMES; the other states finish it. While a step runs, what it
calls notes in the file FEWSHOT_OUTCOME why it fails. Only light imports here: bin/sweep.sh starts this twice for every
step.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from fewshot_sft.errors import UserError
from fewshot_sft.outcomes import outcomes
from fewshot_sft.program import run


def main(argv: list[str]) -> int:
    """Begin or finish one outcome, or note a reason."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--step", choices=outcomes.STEPS)
    add("--state", choices=outcomes.STATES)
    add("--note", help="only note why the step under way fails")
    args = parser.parse_args(argv)
    if args.note is not None:
        outcomes.note_reason(args.note)
        return 0
    if None in (args.step, args.state):
        raise UserError("--step and --state are needed, or --note")
    folder = Path(os.environ[outcomes.FOLDER])
    if args.state == "running":
        outcomes.begin(folder, args.step)
    else:
        outcomes.finish(folder, args.step, args.state)
    return 0


if __name__ == "__main__":
    run(main)
