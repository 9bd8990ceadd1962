"""Note how a step of the sweep stands, for the summary at its end.

    python py/outcome.py --file logs/tiny.outcomes/training-100.json --step training --size 100 --state running
    python py/outcome.py --file logs/tiny.outcomes/training-100.json --step training --size 100 --state failed \\
        --log logs/tiny-llm_train_100.train.log --reason 'the trainer ended with status 1'

    FEWSHOT_OUTCOME=logs/tiny.outcomes/data.json python py/outcome.py --note 'no free port'

``running`` begins the file anew; the other states finish it. While a step runs, a program that it calls with the
environment variable FEWSHOT_OUTCOME naming the file notes there why it fails: --reason counts only when there is no
such note. Only light imports here: bin/ starts this twice for every step and size.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from fewshot_sft.errors import UserError, run
from fewshot_sft.outcomes import outcomes


def main(argv: list[str]) -> int:
    """Begin or finish one outcome."""
    args = parse_args(argv)
    if args.note is not None:
        outcomes.note_reason(args.note)
    elif args.state == "running":
        outcomes.begin(args.file, args.step, args.size, args.log)
    else:
        outcomes.finish(args.file, args.step, args.state, args.size, args.log, args.reason)
    return 0


def parse_args(argv: list[str]) -> argparse.Namespace:
    """Parse and check the command line.

    Raises:
        UserError: an argument is missing, or a size is given to a step that has none, or is negative.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--file", type=Path, help="the outcome: <folder>/<step>.json or <folder>/<step>-<size>.json")
    add("--step", choices=outcomes.STEPS)
    add("--size", type=int, help="number of training examples; 0 is the base model; none for the step as a whole")
    add("--state", choices=outcomes.STATES)
    add("--log", help="where the step's output is; kept from an earlier state when it is left out")
    add("--reason", help="why it failed, when the step has noted none")
    add("--note", help="only note why the step under way fails")
    args = parser.parse_args(argv)
    if args.note is None and None in (args.file, args.step, args.state):
        raise UserError("--file, --step and --state are needed, or --note")
    if args.size is not None and (args.size < 0 or args.step not in outcomes.OF_SIZES):
        raise UserError(f"--size {args.size}: only {' and '.join(outcomes.OF_SIZES)} have sizes, 0 is the least")
    return args


if __name__ == "__main__":
    run(main)
