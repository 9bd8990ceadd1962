"""Choose how to compute the sweep on this hardware: what is ``auto`` is decided, what is set is kept.

    python py/hardware_plan.py --model=... --sizes="100 500" --data-dir=... --logs-dir=... --out logs/x.plan.json
    python py/hardware_plan.py ... --explain

It takes the sweep's settings as flags (``bin/sweep.sh`` passes all of them) and reads those that it needs. On stdout
are lines ``NAME=VALUE`` for bash, a line a setting, values of [0-9a-z.] only; with ``--details`` also ACCUMULATION,
KV_CACHE_BYTES and SERVER_ALONE; with ``--explain`` the same plan for people, with its reasons. Exit status: 0, also
where it does not fit (the preflight says so), 2 for a setting that is wrong.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from fewshot_sft import hardware_plan, plan_facts
from fewshot_sft.errors import run
from fewshot_sft.hardware_plan import Plan
from fewshot_sft.jsonio import write_json
from fewshot_sft.plan_choice import Facts


def main(argv: list[str]) -> int:
    """Make the plan, print it, write the record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--out", type=Path, help="the record; none is written without")
    parser.add_argument("--details", action="store_true", help="print what follows from the settings, too")
    parser.add_argument("--explain", action="store_true", help="print each setting with its reason")
    plan_facts.add_flags(parser)
    args = parser.parse_known_args(argv)[0]
    facts, wishes = plan_facts.collect(args)
    plan = hardware_plan.make(facts, wishes)
    if args.out:
        write_json(args.out, record(facts, plan))
    values = plan.settings | (plan.details if args.details else {})
    print("\n".join(explained(plan) if args.explain else (f"{name}={value}" for name, value in values.items())))
    return 0


def explained(plan: Plan) -> list[str]:
    """Return the plan's lines for people: ``MICRO_BATCH 8: why``."""
    lines = []
    for reason in plan.reasons:
        what = f"{reason.setting} {reason.value}".strip()
        if reason.setting == "all":
            what = ", ".join(f"{name} {value}" for name, value in plan.settings.items())
        lines.append(f"{'warning: ' * reason.warning}{what}: {reason.why}")
    return lines


def record(facts: Facts, plan: Plan) -> dict[str, Any]:
    """Return the JSON record; what is not known is absent."""
    found = dataclasses.asdict(facts)
    shape = found.pop("shape")
    if shape:
        found["model"] = {key: value for key, value in shape.items() if key != "linears" and value is not None}
    found["gpus"] = [{key: value for key, value in gpu.items() if value is not None} for gpu in found["gpus"]]
    reasons = []
    for each in plan.reasons:
        reasons.append({"setting": each.setting, "value": each.value, "why": each.why})
        if each.warning:
            reasons[-1]["warning"] = True
    problem = {"problem": plan.problem, "mend": plan.mend} if plan.problem else {}
    return {
        "schema": 1,
        "kind": "plan",
        "settings": plan.settings,
        "details": plan.details,
        "reasons": reasons,
        **problem,
        "memory": plan.memory,
        "facts": {key: value for key, value in found.items() if value is not None},
    }


if __name__ == "__main__":
    run(main)
