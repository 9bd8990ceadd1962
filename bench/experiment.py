"""Compare what bench/experiment.sh has left in a folder: print the table, write experiment.json.

    python bench/experiment.py --folder bench.out --sizes 100 500 1000 2000 --epochs 3 --data data/x --model MODEL

The original's total is computed from its measured parts: for each size what a training takes beside its steps (its
start and its slow first steps), its examples at the steady rate between the first and the last line of the trainer's
log, a start of the server, its items at the loop's rate. Ours is the sweep's own wall time. The floor: 4 x parameters
x tokens operations to train an adapter (forward, and backward for the activations only), 2 x parameters x uncached
tokens for each item, at the rate of the card in one large bf16 product, measured here; without a GPU there is none.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "py"))

from fewshot_sft.jsonio import write_json
from fewshot_sft.preflight.model import check_folder
from fewshot_sft.provenance import git_revision, versions


def load(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def training(folder: Path, size: int) -> dict[str, float]:
    """Return a size's training: samples/s as the trainer reports, its run time, and the seconds around it."""
    (run,) = folder.glob(f"saves/*/lora/bench-llm_train_{size}")
    record, results = load(run / "training.json"), load(run / "all_results.json")
    return {
        "samples_per_second": results["train_samples_per_second"],
        "train_seconds": results["train_runtime"],
        "around_seconds": record["seconds"] - results["train_runtime"],
        "tokens": record["tokens"]["mean"],
    }


def steady_rate(folder: Path, size: int) -> float | None:
    """Return samples/s between a training's first and last logged step; None where its log, in whole seconds, has no
    time between them.
    """
    (run,) = folder.glob(f"saves/*/lora/bench-llm_train_{size}")
    lines = [json.loads(line) for line in (run / "trainer_log.jsonl").read_text(encoding="utf-8").splitlines()]
    steps = [line for line in lines if "loss" in line]
    first, last = steps[0], steps[-1]
    seconds = clock(last["elapsed_time"]) - clock(first["elapsed_time"])
    return (last["epoch"] - first["epoch"]) * size / seconds if seconds else None


def clock(text: str) -> int:
    """Return the seconds of `0:01:30`, with days before it if there are any."""
    days, _, rest = text.rpartition(" day")
    hours, minutes, seconds = rest.rpartition(" ")[2].split(":")
    return ((int(days or 0) * 24 + int(hours)) * 60 + int(minutes)) * 60 + int(seconds)


def seconds_of(outcome: dict[str, Any], begun: datetime) -> tuple[float, float]:
    """Return an outcome's begin and end in seconds after ``begun``."""
    times = (datetime.fromisoformat(outcome[key]) for key in ("started", "finished"))
    first, last = ((time - begun).total_seconds() for time in times)
    return first, last


def card() -> tuple[str, float] | None:
    """Return the GPU's name and its operations per second in a bf16 product of 8192 x 8192, None without one."""
    import torch

    if not torch.cuda.is_available():
        return None
    a = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
    for _ in range(10):
        a @ a
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(50):
        a @ a
    end.record()
    torch.cuda.synchronize()
    return torch.cuda.get_device_name(), 50 * 2 * 8192**3 / (start.elapsed_time(end) / 1000)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Return all figures; a part that was not run is absent."""
    items = len(load(args.data / "llm_test.json"))
    found: dict[str, Any] = {
        "schema": 1,
        "kind": "experiment",
        "sizes": args.sizes,
        "epochs": args.epochs,
        "items": items,
    }
    found |= {
        "versions": versions(),
        "git_revision": git_revision(),
        "cores": os.cpu_count(),
    }
    if (args.folder / "seed/loop.json").exists():
        loop = load(args.folder / "seed/loop.json")
        smallest = min(args.sizes)
        part = training(args.folder / "seed", smallest)
        ready = load(args.folder / "seed/server.json")["seconds"]
        rate = loop["items"] / loop["seconds"]
        steady = steady_rate(args.folder / "seed", smallest) or part["samples_per_second"]
        beside = part["around_seconds"] + part["train_seconds"] - smallest * args.epochs / steady
        total = sum(beside + size * args.epochs / steady + ready + items / rate for size in args.sizes)
        found["seed"] = part | {
            "steady_samples_per_second": round(steady, 2),
            "beside_the_steps_seconds": round(beside, 1),
            "timed_examples": smallest,
            "asked_adapter": loop.get("adapter"),
            "timed_items": loop["items"],
            "ready_seconds": ready,
            "items_per_second": round(rate, 2),
            "computed_total_seconds": round(total),
        }
    ours = args.folder / "ours"
    if (ours / "objs/bench/summary.json").exists():
        found["ours"] = our(ours, args.sizes, args.epochs, items)
        if "seed" in found:
            found["times_faster"] = round(found["seed"]["computed_total_seconds"] / found["ours"]["total_seconds"], 1)
    measured = card()
    parameters = check_folder(Path(args.model), "all")[1].parameters
    if measured and parameters and "ours" in found:
        tokens = found["ours"]["tokens"]
        # The instruction, the same for all, is computed once; counted as half of the prompt, as it is in this data.
        work = parameters * (4 * tokens * sum(args.sizes) * args.epochs + 2 * tokens / 2 * items * len(args.sizes))
        found["floor"] = {
            "gpu": measured[0],
            "operations_per_second": measured[1],
            "seconds": round(work / measured[1]),
        }
    return found


def our(folder: Path, sizes: list[int], epochs: float, items: int) -> dict[str, Any]:
    """Return the figures of our sweep."""
    summary = load(folder / "objs/bench/summary.json")
    begun = datetime.fromisoformat(summary["started"])
    outcomes = {path.stem: load(path) for path in sorted(folder.glob("logs/bench.outcomes/*.json"))}
    steps = {name: [round(t) for t in seconds_of(each, begun)] for name, each in outcomes.items() if "finished" in each}
    evaluations = [load(folder / f"objs/bench-llm_train_{size}.json")["timings"] for size in sizes]
    trainings = [training(folder, size) for size in sizes]
    spans = [steps[f"evaluation-bench-llm_train_{size}"] for size in sizes]
    found = {
        "total_seconds": summary["seconds"],
        "steps": steps,
        "samples_per_second": [each["samples_per_second"] for each in trainings],
        "samples_per_second_together": round(sum(sizes) * epochs / (steps["training"][1] - steps["training"][0]), 2),
        "items_per_second": [each["items_per_second"] for each in evaluations],
        "items_per_second_together": round(
            items * len(sizes) / (max(end for _, end in spans) - min(begin for begin, _ in spans)), 2
        ),
        "tokens": trainings[-1]["tokens"],
        "accuracy": [load(folder / f"objs/bench-llm_train_{size}.json")["metrics"]["accuracy"] for size in sizes],
    }
    plan = folder / "logs/bench.plan.json"
    if plan.exists():
        found["plan"] = load(plan)["settings"]
    ready = [*folder.glob("logs/bench.server.json"), *folder.glob("logs/*_train_*.server.json")]
    if ready:
        found["ready_seconds"] = load(ready[0])["seconds"]
    memory = folder / "memory.txt"
    if memory.exists():
        found["peak_memory_mib"] = max(
            (int(line) for line in memory.read_text().split() if line.isdigit()), default=None
        )
    return found


def table(found: dict[str, Any]) -> str:
    """Return the table as Markdown."""
    seed, ours = found.get("seed", {}), found.get("ours", {})
    rows = [
        ("training, samples/s", seed.get("steady_samples_per_second"), ours.get("samples_per_second_together")),
        ("server ready after, s", seed.get("ready_seconds"), ours.get("ready_seconds")),
        ("evaluation, items/s", seed.get("items_per_second"), ours.get("items_per_second_together")),
        ("whole experiment, s", seed.get("computed_total_seconds"), ours.get("total_seconds")),
        ("GPU memory, peak, MiB", None, ours.get("peak_memory_mib")),
    ]
    lines = ["| | the original's way | ours |", "| --- | --- | --- |"]
    lines += [f"| {name} | {'' if a is None else a} | {'' if b is None else b} |" for name, a, b in rows]
    if "times_faster" in found:
        lines.append(f"\n{found['times_faster']} times faster")
    if "floor" in found:
        lines.append(f"arithmetic floor: {found['floor']['seconds']} s on {found['floor']['gpu']}")
    return "\n".join(lines)


def main() -> None:
    """Print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--sizes", type=int, nargs="+", required=True)
    parser.add_argument("--epochs", type=float, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", required=True)
    args = parser.parse_args()
    found = measure(args)
    write_json(args.folder / "experiment.json", found)
    print(table(found))


if __name__ == "__main__":
    main()
