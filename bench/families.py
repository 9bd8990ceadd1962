"""Train some steps of a model the original's way and by py/fast_trainer.py: samples/s, and how the losses differ.

    .venv/bin/python bench/families.py --shape qwen2.5-7b --out qwen.json
    .venv/bin/python bench/families.py --model SMOLLM2 --template smollm2 --out smollm2.json

A model of ``--shape`` (bench/random_model.py) is made in ``--folder``, by default a new temporary one, if it is not
there. Both ways have the same model, synthetic texts, seed and global batch of 8. The original's: `llamafactory-cli
train`'s own function with batches of 2, accumulated 4 times, and gradient checkpointing; ours: with the flags that
bin/train.sh gives it. Neither saves anything. Rates are those of the steps after ``--after``; before them most shapes
are captured. Each step ends with the GPU's, as its loss is logged. The JSON has the losses of all steps, the steps'
seconds, which shapes were captured, and why graphs were given up, if they were; it is written after each way.
"""

from __future__ import annotations

import argparse
import json
import os
import runpy
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "py"))

from random_model import SHAPES

from fewshot_sft.data.dataset_info import FILE, register
from fewshot_sft.data.prompts import alpaca_row, render_instruction
from fewshot_sft.data.tiny_corpus import LABELS, labelled
from fewshot_sft.errors import UserError
from fewshot_sft.jsonio import read_json, write_json
from fewshot_sft.program import run
from fewshot_sft.provenance import PACKAGES, PROJECT, git_revision, versions

ROWS, BATCH = 500, 8  # examples, and examples an update
NAME = f"llm_train_{ROWS}"
ORIGINAL, FAST = "original", "fast"
GIVEN_UP = "training without CUDA graphs from here on: "


def main(argv: list[str]) -> int:
    """Make what is missing, train, write the JSON and print it without the steps."""
    if argv[:1] == ["--train"]:
        train(argv[1], Path(argv[2]), argv[4:])
        return 0
    args = parse_args(argv)
    folder = args.folder or Path(tempfile.mkdtemp())
    data, model = folder / "data", args.model or folder / args.shape
    if not (data / FILE).exists():
        instruction = render_instruction(LABELS)
        write_json(data / f"{NAME}.json", [alpaca_row(*pair, instruction) for pair in labelled("train", ROWS, 42)])
        write_json(data / FILE, register({}, [NAME]))
    if not (model / "config.json").exists():
        make = [sys.executable, PROJECT / "bench/random_model.py", "--shape", args.shape, "--data", data]
        subprocess.run([*make, "--out", model], check=True)
    found: dict[str, Any] = {"schema": 1, "kind": "families", "model": args.model and str(args.model)}
    found |= {"shape": args.shape, "steps": args.steps, "after": args.after, "global_batch": BATCH}
    found |= {"versions": versions((*PACKAGES, "liger-kernel")), "git_revision": git_revision()}
    found |= {"cores": os.cpu_count()}
    for way in args.ways:
        found[way] = measured(way, folder, flags(way, model, args.template, data, args.steps), args.after)
        compare(found)
        write_json(args.out, found)
    steps = ("losses", "seconds_of_steps")
    told = {key: value for key, value in found.items() if key not in (ORIGINAL, FAST, "versions")}
    told |= {way: {key: value for key, value in found[way].items() if key not in steps} for way in args.ways}
    print(json.dumps(told, indent=1))
    return int(any("failed" in found[way] for way in args.ways))


def flags(way: str, model: Path, template: str, data: Path, steps: int) -> list[str]:
    """Return the trainer's flags, as bin/train.sh has them with the defaults, but for what is saved and logged."""
    import torch

    fast, gpu = way == FAST, torch.cuda.is_available()
    given = {
        "stage": "sft",
        "do_train": True,
        "model_name_or_path": model,
        "preprocessing_num_workers": 1,
        "finetuning_type": "lora",
        "template": template,
        "flash_attn": "auto",
        "dataset_dir": data,
        "dataset": NAME,
        "cutoff_len": 1024,
        "learning_rate": 5e-05,
        "max_steps": steps,
        "max_samples": 100_000,
        "per_device_train_batch_size": BATCH if fast else 2,
        "gradient_accumulation_steps": 1 if fast else BATCH // 2,
        "lr_scheduler_type": "cosine",
        "max_grad_norm": 1.0,
        "logging_steps": 1,
        "warmup_steps": 0,
        "optim": "adamw_torch_fused" if fast else "adamw_torch",
        "packing": False,
        "report_to": "none",
        "include_num_input_tokens_seen": not fast,
        "lora_rank": 8,
        "lora_alpha": 16,
        "lora_dropout": 0,
        "lora_target": "all",
        "seed": 42,
        "save_strategy": "no",
        "overwrite_output_dir": True,
    }
    given |= {"bf16": True} if gpu else {"use_cpu": True}
    if fast:
        given |= {"disable_gradient_checkpointing": True, "logging_nan_inf_filter": False, "shared_prefix": "auto"}
    return [part for name, value in given.items() for part in (f"--{name}", str(value))]


def measured(way: str, folder: Path, words: list[str], after: int) -> dict[str, Any]:
    """Train one way in a process of its own; return its figures, or how it ended."""
    record, log = folder / f"{way}.json", folder / f"{way}.log"
    record.unlink(missing_ok=True)
    command = [sys.executable, __file__, "--train", way, record, "--", *words, "--output_dir", folder / f"{way}.out"]
    begun = time.monotonic()
    # As bin/lib/device.bash has it.
    threads = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")} if way == FAST else {}
    with log.open("w") as output:
        status = subprocess.run(command, stdout=output, stderr=output, check=False, env=os.environ | threads).returncode
    seconds = round(time.monotonic() - begun, 1)
    text = log.read_text(errors="replace")
    print(f"{way}: {seconds} s, log: {log}", file=sys.stderr)
    if status:
        print(text[-3000:], file=sys.stderr)
        return {"failed": status, "process_seconds": seconds, "log": str(log)}
    found: dict[str, Any] = read_json(record)
    ends = found.pop("ends")
    found["seconds_of_steps"] = [round(end - start, 4) for start, end in pairwise(ends)]
    found["samples_per_second"] = round(BATCH * (len(ends) - after) / (ends[-1] - ends[after - 1]), 2)
    found["process_seconds"] = seconds
    if GIVEN_UP in text:
        found["given_up"] = text.split(GIVEN_UP, 1)[1].splitlines()[0]
    return found


def compare(found: dict[str, Any]) -> None:
    """Add what both ways have been needed for: how many times faster, and how far the losses are from each other."""
    ways = [found.get(way, {}) for way in (ORIGINAL, FAST)]
    if all("losses" in way for way in ways):
        original, fast = ways
        apart = [abs(one - other) for one, other in zip(original["losses"], fast["losses"], strict=True)]
        found["times_faster"] = round(fast["samples_per_second"] / original["samples_per_second"], 2)
        found["loss_difference"] = {"max": round(max(apart), 5), "mean": round(sum(apart) / len(apart), 5)}


def train(way: str, record: Path, words: list[str]) -> None:
    """Train in this process; write the steps' losses and ends, and what was captured."""
    import torch
    from llamafactory.train import tuner
    from transformers import TrainerCallback

    from fewshot_sft.training import step_graphs

    found: dict[str, Any] = {"losses": [], "ends": [], "captured": [], "not_captured": []}

    class Steps(TrainerCallback):
        """Notes each step's loss and its end."""

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if "loss" in logs:
                found["losses"].append(float(logs["loss"]))
                found["ends"].append(time.perf_counter())

        def on_train_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
            found["parameters"] = sum(parameter.numel() for parameter in model.parameters())
            if torch.cuda.is_available():
                found["gpu"] = torch.cuda.get_device_name()
                found["peak_bytes"] = torch.cuda.max_memory_allocated()
                found["reserved_bytes"] = torch.cuda.max_memory_reserved()
            write_json(record, found)

    class Noted(step_graphs.CudaGraph):
        """A capture that is noted."""

        def __init__(self, run: Any, inputs: Any, items: Any, pool: Any) -> None:
            shape = list(inputs["input_ids"].shape)
            try:
                super().__init__(run, inputs, items, pool)
            except RuntimeError as error:
                found["not_captured"].append([shape, str(error)])
                raise
            found["captured"].append(shape)

    plain = tuner.run_exp

    def run_exp(args: Any = None, callbacks: Any = None) -> None:
        plain(args, [*(callbacks or []), Steps()])

    tuner.run_exp, step_graphs.CudaGraph = run_exp, Noted  # type: ignore[misc] - a class in place of a class
    sys.argv = [str(PROJECT / "py/fast_trainer.py"), *words]
    if way == FAST:
        runpy.run_path(sys.argv[0], run_name="__main__")
    else:
        run_exp()


def parse_args(argv: list[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--shape", choices=SHAPES, help="of a model with random weights")
    what.add_argument("--model", type=Path, help="a model's folder, with its --template")
    parser.add_argument("--template", default="glm4", help="default: glm4, that of the random models")
    parser.add_argument("--folder", type=Path, help="for data, the random model and logs")
    parser.add_argument("--out", type=Path, required=True, help="the JSON")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--after", type=int, default=10, help="steps that are not timed, at the beginning (10)")
    parser.add_argument("--ways", nargs="+", choices=(FAST, ORIGINAL), default=[FAST, ORIGINAL])
    args = parser.parse_args(argv)
    if not 0 < args.after < args.steps:
        raise UserError(f"--after {args.after}: give a number of steps from 1 to {args.steps - 1}")
    return args


if __name__ == "__main__":
    run(main)
