"""Choose how to compute the sweep on this hardware: settings that are ``auto`` are decided, the others kept.

    python py/plan.py --model=... --sizes="100 500" --data-dir=... --logs-dir=... --out logs/x.plan.json
    python py/plan.py ... --examine

Its flags are the settings of the sweep (bin/lib/device.bash passes all of them), of which it reads those that it needs.
Stdout has a line ``NAME=VALUE  # reason`` for each value, with values of [0-9a-z.] only. Exit status: 0, also where the
plan does not fit (the preflight reports it), 2 for a setting that is wrong.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from fewshot_sft import planning
from fewshot_sft.errors import run
from fewshot_sft.jsonio import write_json
from fewshot_sft.planning import facts, gpus


def main(argv: list[str]) -> int:
    """Make the plan, print it, write the record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--out", type=Path, help="the record; none is written without")
    parser.add_argument("--examine", action="store_true", help="examine the GPUs instead of reading logs/hardware.json")
    facts.add_flags(parser)
    args = parser.parse_known_args(argv)[0]
    known, wishes = facts.collect(args, gpus.examine() if args.examine else None)
    plan = planning.make(known, wishes)
    if args.out:
        record = {"schema": 2, "kind": "plan", **dataclasses.asdict(plan), "facts": dataclasses.asdict(known)}
        write_json(args.out, record)
    print("\n".join(plan.lines()))
    return 0


if __name__ == "__main__":
    run(main)
