"""Choose how to compute the sweep on this hardware: settings that are ``auto`` are decided, the others kept.

    python py/plan.py [--known]

What it decides goes into the file of the settings, its reasons to logs/<sweep>.plan.json. The GPUs are those that
PyTorch sees now, or with --known those of logs/hardware.json, which the preflight of this sweep has written. A dry run
(--dry-run) prints a line ``NAME=VALUE  # reason`` for each value, what it takes by an estimate, and writes no record.
Exit status: 0, also where the plan does not fit (the preflight reports it), 2 something for the user to mend.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys

from fewshot_sft import planning, revision, runs
from fewshot_sft.errors import UserError
from fewshot_sft.jsonio import read_json, write_json
from fewshot_sft.planning import context, facts, gpus
from fewshot_sft.preflight.adapters import RANKS, served_rank
from fewshot_sft.program import run
from fewshot_sft.settings import Settings
from fewshot_sft.words import duration


def main(argv: list[str]) -> int:
    """Look at the hardware, make the plan, write it into the settings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--known", action="store_true", help="the GPUs are in logs/hardware.json")
    parser.add_argument("--dry-run", action="store_true", help="print the plan, write no record")
    args = parser.parse_args(argv)
    settings = Settings.read()
    settings = settings.but(MODEL_COMMIT=revision.commit(settings))
    if settings["METHODS"] == "auto":
        settings = settings.but(METHODS=" ".join(methods(settings)))
    if settings.device == "cpu":
        values = {name: value for name, value in planning.ON_CPU.items() if settings[name] == "auto"}
        if settings["MICRO_BATCH"] == "auto":
            values["MICRO_BATCH"] = settings["BATCH_SIZE"]
        settings.but(**gpus.resolve(settings, None), **values, KV_CACHE_BYTES="0").write()
        return 0
    path = settings.logs_dir / "hardware.json"
    hardware = read_json(path) if args.known else gpus.examine()
    if not (args.known or args.dry_run):
        write_json(path, hardware)
    found = gpus.resolve(settings, hardware)
    if found["PRECISION"] == "fp16" and settings.template.startswith("glm4"):
        print("warning: GLM-4 overflows in fp16 (loss 0 or nan); use a GPU with bf16", file=sys.stderr)
    settings = settings.but(**found)
    known, wishes = facts.collect(settings, hardware)
    plan = planning.make(known, wishes)
    chosen = {name: value for name, value in plan.settings.items() if settings[name] == "auto"}
    length = context.served(facts.model_folder(settings))
    rank = served_rank(settings.lora_rank)
    if rank is None and settings["SERVER"] == "vllm":
        raise UserError(
            f"LORA_RANK={settings.lora_rank}: vLLM serves adapters up to rank {RANKS[-1]}; "
            "set SERVER=llamafactory BACKEND=huggingface"
        )
    settings.but(**chosen, **plan.details, MAX_LORA_RANK=str(rank or 0), MODEL_LENGTH=str(length)).write()
    if args.dry_run:
        print("\n".join(plan.lines()))
        if plan.seconds:
            print(f"# all trainings and answers take about {duration(plan.seconds)} (an estimate: docs/performance.md)")
    else:
        record = {"schema": 2, "kind": "plan", **dataclasses.asdict(plan), "facts": dataclasses.asdict(known)}
        write_json(settings.logs_dir / f"{settings.sweep_name}.plan.json", record)
    return 0


def methods(settings: Settings) -> tuple[str, ...]:
    """Return what METHODS=auto is: a small base model's own hidden states cost little."""
    usual = runs.methods(settings)
    return (*usual, "llm-embedding") if settings.task == runs.CLASSIFICATION and facts.is_small(settings) else usual


if __name__ == "__main__":
    run(main)
