"""Seconds and memory that a thousand runs cost where nothing is computed but tables: plan, summary, results, report.

    python bench/scale.py [--models 5] [--sizes 6] [--seeds 5] [--items 300]

Makes the records of sweeps that never ran, one a model with seven methods, in a temporary folder, and runs our programs
on them. Prints JSON: of each program its seconds, those of the CPU and its largest resident memory in MiB.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT / "py"), str(PROJECT / "tests/helpers")]

from made_sweep import made_sweep  # noqa: E402 - found by the line above

from fewshot_sft import runs  # noqa: E402 - as above
from fewshot_sft.outcomes import outcomes  # noqa: E402 - as above
from fewshot_sft.settings import Settings  # noqa: E402 - as above

METHODS = (runs.LORA, runs.K_SHOT, *runs.ON_CPU, *runs.ON_GPU)
LABELS = [f"label {letter}" for letter in "abcdefgh"]


def make(folder: Path, name: str, sizes: int, seeds: int, items: int) -> Settings:
    """Make one model's sweep, with its settings file and the outcomes of its runs."""
    settings = Settings(
        {
            **{f"{part}_DIR": str(folder / part.lower()) for part in ("DATA", "SAVES", "LOGS", "OBJS")},
            "SWEEP_NAME": name,
            "MODEL_NAME": name,
            "MODEL": "owner/name",
            "TEMPLATE": "glm4",
            "METHODS": " ".join(METHODS),
            "SIZES": " ".join(str(16 << each) for each in range(sizes)),
            "SEEDS": " ".join(map(str, range(seeds))),
        }
    )
    made_sweep(settings, LABELS, METHODS, items=items)
    settings.write(folder / f"{name}.settings.json")
    for run in runs.every(settings):
        for step in outcomes.OF_RUNS if run.is_trained else ("evaluation",):
            outcomes.begin(folder / f"{name}.outcomes", step, run.name)
            outcomes.finish(folder / f"{name}.outcomes", step, "done", run.name)
    return settings


def timed(folder: Path, name: str, program: str, *arguments: str, given: str = "") -> dict[str, float]:
    """Run a program on a sweep; return its seconds and its largest memory, with that of its children."""
    environment = os.environ | {
        "FEWSHOT_SETTINGS": str(folder / f"{name}.settings.json"),
        "FEWSHOT_OUTCOMES": str(folder / f"{name}.outcomes"),
    }
    command = ["/usr/bin/env", "time", "--format", "%M %U %S", sys.executable, f"py/{program}", *arguments]
    began = time.monotonic()
    done = subprocess.run(command, cwd=PROJECT, env=environment, input=given, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    memory, *cpu = map(float, done.stderr.splitlines()[-1].split())
    return {
        "seconds": round(time.monotonic() - began, 1),
        "cpu_seconds": round(sum(cpu), 1),
        "memory_mib": int(memory) // 1024,
    }


def main() -> None:
    """Make the records, run the programs, print what they cost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("models", 5), ("sizes", 6), ("seeds", 5), ("items", 300)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        names = [f"model{number}" for number in range(1, args.models + 1)]
        count = 0
        for name in names:
            count += len(runs.every(make(folder, name, args.sizes, args.seeds, args.items)))
        first = names[0]
        found = {
            "summary": timed(folder, first, "summarize.py", "--status", "0", "--started", str(int(time.time()) - 60)),
            "list of tasks": timed(folder, first, "slurm_tasks.py", "plan", "--dry-run"),
            "results and report": timed(folder, first, "see_results.py"),
            "results and report of all": timed(
                folder,
                first,
                "see_results.py",
                *(["--run", *names[1:]] if names[1:] else []),
                "--out",
                str(folder / "all"),
            ),
        }
        print(json.dumps({"runs": count, "sweeps": len(names), **found}, indent=2))


if __name__ == "__main__":
    main()
