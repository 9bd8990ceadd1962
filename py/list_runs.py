"""List the runs of a sweep for the scripts, a line each, with tabs between: name, title, size, seed, data, adapter.

    python py/list_runs.py trainings [--largest-first]
    python py/list_runs.py evaluations

What a run does not have is a dash.
"""

from __future__ import annotations

import argparse

from fewshot_sft import runs
from fewshot_sft.program import run as run_main
from fewshot_sft.settings import Settings


def main(argv: list[str]) -> int:
    """Print the runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", choices=("trainings", "evaluations"))
    parser.add_argument("--largest-first", action="store_true", help="by size; the base model, which has none, last")
    args = parser.parse_args(argv)
    listed = runs.chosen(getattr(runs, args.which)(Settings.read()))
    if args.largest_first:
        listed = sorted(listed, key=lambda run: run.size or 0, reverse=True)
    for run in listed:
        fields = (run.size, run.seed, run.dataset, run.adapter) if run.is_trained else "----"
        print(run.name, run.title, *fields, sep="\t")
    return 0


if __name__ == "__main__":
    run_main(main)
