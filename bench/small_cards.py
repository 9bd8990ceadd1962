"""Run small sweeps on a GPU of which another process leaves as much as a smaller card has: does the plan hold?

    python bench/random_model.py --data DATA --shape qwen2.5-7b --out QWEN
    python bench/small_cards.py --cards 24,16 --model qwen2.5-7b=QWEN --model smollm2=SMOLLM2:smollm2 --out cards.json

What is planned is auto, the rest SETTINGS, unless the environment has another value. The JSON, written after each
sweep, has the plan, the bytes that it planned with and those that were used, by NVML 20 times a second, and how the
sweep ended: finished, refused by the preflight for want of memory (with its words), or failed (with the end of the log,
and what ran out of memory). Exit status: 1 if one failed. vLLM computes more at once on a large card, and so takes more
here than on a small one. The GPU is the first; with several run one for each, with CUDA_VISIBLE_DEVICES.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "py"))

from fewshot_sft.children import Child
from fewshot_sft.errors import UserError
from fewshot_sft.identity import read_record
from fewshot_sft.jsonio import write_json
from fewshot_sft.program import end_on_signals, run
from fewshot_sft.provenance import PACKAGES, PROJECT, git_revision, versions

CARDS = {24: 24_564, 16: 16_376, 12: 12_282}  # MiB that nvidia-smi tells of an RTX 4090, 4080, 4070
SETTINGS = {"SIZES": "16 32", "METHODS": "lora", "TEST_COUNT": "32", "VALID_COUNT": "32", "MAX_TOKENS": "16"}
SETTINGS |= {"DATASET": "synthetic-patents", "SWEEP_NAME": "cards"}
# What PyTorch and vLLM say, in small letters.
NO_MEMORY = ("out of memory", "outofmemory", "no available memory for the cache", "the available kv cache memory")
NO_MEMORY += ("less than desired gpu memory",)


def main(argv: list[str]) -> int:
    """Run the sweeps, the largest card first; write the JSON after each."""
    if argv == ["--occupy"]:
        return occupy()
    args = parse_args(argv)
    end_on_signals()
    folder = args.folder or Path(tempfile.mkdtemp())
    os.environ.update({name: os.environ.get(name, value) for name, value in SETTINGS.items()})
    os.environ.update(DATA_DIR=str(folder / "data"), CUDA_DEVICE_ORDER="PCI_BUS_ID")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")
    library, gpu = nvml()
    found: dict[str, Any] = {"schema": 1, "kind": "small_cards", "gpu": library.nvmlDeviceGetName(gpu), "sweeps": []}
    found |= {"versions": versions(PACKAGES), "git_revision": git_revision()}
    command = [sys.executable, __file__, "--occupy"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as occupier:
        for card in args.cards:
            left = leave(occupier, CARDS[card] << 20)
            for name, model in args.model:
                about = {"card": card, "model": name, "left_bytes": left}
                found["sweeps"].append(about | one_sweep(folder / f"{name}-{card}", model, args.limit))
                write_json(args.out, found)
                print(line(found["sweeps"][-1]), flush=True)
    print(f"kept: {folder}")
    return int(any(each["state"] == "failed" for each in found["sweeps"]))


def one_sweep(folder: Path, model: dict[str, str], limit: float) -> dict[str, Any]:
    """Return what became of a sweep on what is free."""
    folder.mkdir(parents=True, exist_ok=True)
    log, name, others = folder / "sweep.log", os.environ["SWEEP_NAME"], used()
    environment = model | {f"{part}_DIR": str(folder / part.lower()) for part in ("SAVES", "LOGS", "OBJS")}
    seen: list[tuple[float, int]] = []
    begun, status = time.time(), None
    with Child("the sweep", [f"{PROJECT}/bin/sweep.sh"], patience=60, log=log, environment=environment) as sweep:
        while status is None and time.time() < begun + limit:
            seen.append((time.time(), used() - others))
            status = sweep.wait(0.05)
    ended = time.time()
    plan, checks, trained = (
        read_record(folder / f"logs/{name}{kind}.json") for kind in (".plan", ".preflight", ".outcomes/training")
    )
    refused = [
        f"{each['message']}; {each['mend']}"
        for each in checks.get("checks", ())
        if (each["check"], each["result"]) == ("GPU memory", "problem")
    ]
    lacked = {path.name: said for path in sorted(folder.rglob("*.log")) if (said := no_memory(path))}
    state = "finished" if status == 0 else "refused" if status == 2 and refused else "failed"
    found = {"state": "failed" if lacked else state, "seconds": round(ended - begun, 1), "status": status}
    found |= {key: plan[key] for key in ("settings", "details", "warnings", "memory") if key in plan}
    if plan.get("memory"):
        found["planned_bytes"] = planned(plan)
    half = datetime.fromisoformat(trained["finished"]).timestamp() if "finished" in trained else ended
    peak = {
        "training": [size for at, size in seen if at < half],
        "evaluation": [size for at, size in seen if at >= half],
    }
    found["peak_bytes"] = {part: max(sizes) for part, sizes in peak.items() if sizes}
    if refused:
        found["words"] = refused
    if found["state"] == "failed":
        found |= {"out_of_memory": lacked, "log": text_of(log).splitlines()[-20:]}
    return found


def planned(plan: dict[str, Any]) -> dict[str, int]:
    """Return the bytes that were planned with for the training, with the server if it is beside it, and afterwards."""
    memory, beside = plan["memory"], plan["settings"]["OVERLAP"] == "1"
    trainers = memory["trainers_per_gpu"] * memory["trainer_bytes"]
    return {"training": trainers + beside * memory["server_bytes"], "evaluation": memory["server_bytes"]}


def no_memory(log: Path) -> str | None:
    """Return the first line of a log that tells of too little memory."""
    return next((line for line in text_of(log).splitlines() if any(each in line.lower() for each in NO_MEMORY)), None)


def text_of(path: Path) -> str:
    """Return what a log has."""
    return path.read_text(encoding="utf-8", errors="replace")


def line(found: dict[str, Any]) -> str:
    """Return a sweep in one line."""
    planned, settings = found.get("planned_bytes", {}), found.get("settings", {})
    words = [f"{found['model']} on {found['card']} GB: {found['state']} after {found['seconds']} s"]
    words += [
        f"{part} {planned[part] / 1e9:.1f} GB planned, {size / 1e9:.1f} used"
        for part, size in found["peak_bytes"].items()
        if part in planned
    ]
    words += [" ".join(f"{name}={value}" for name, value in settings.items()), *found.get("words", ())]
    return "; ".join([*filter(None, words), *found.get("out_of_memory", {}).values()])


def leave(occupier: subprocess.Popen[str], size: int) -> int:
    """Have the occupier hold all but so many bytes; return the bytes that are free then."""
    assert occupier.stdin is not None
    assert occupier.stdout is not None
    occupier.stdin.write(f"{size}\n")
    left = int(occupier.stdout.readline())
    if left < size - (8 << 20):
        raise UserError(f"the GPU has {left} bytes free, and {size} are to be left: others hold the rest; end them")
    return left


def occupy() -> int:
    """For each line of the input, bytes that are to be free, hold the rest and print what is free."""
    os.environ["PYTORCH_NO_CUDA_MEMORY_CACHING"] = "1"
    import torch

    held: list[torch.Tensor] = []
    for wanted in sys.stdin:
        held.clear()
        rest = max(0, torch.cuda.mem_get_info()[0] - int(wanted))
        held.append(torch.empty(rest, dtype=torch.uint8, device="cuda"))
        print(torch.cuda.mem_get_info()[0], flush=True)
    return 0


def nvml() -> tuple[Any, Any]:
    """Return NVML and its handle of the GPU."""
    import pynvml

    pynvml.nvmlInit()
    name = os.environ["CUDA_VISIBLE_DEVICES"]
    find = pynvml.nvmlDeviceGetHandleByIndex if name.isdecimal() else pynvml.nvmlDeviceGetHandleByUUID
    return pynvml, find(int(name) if name.isdecimal() else name)


def used() -> int:
    """Return the bytes of the GPU that all processes hold."""
    library, gpu = nvml()
    return int(library.nvmlDeviceGetMemoryInfo(gpu).used)


def parse_args(argv: list[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cards", type=cards, default="24,16,12", help="GB; default: 24,16,12, all that are known")
    parser.add_argument("--model", type=model, action="append", required=True, metavar="NAME=FOLDER[:TEMPLATE]")
    parser.add_argument("--out", type=Path, required=True, help="the JSON")
    parser.add_argument("--limit", type=float, default=240, help="seconds of a sweep at most; default: 240")
    parser.add_argument("--folder", type=Path, help="for the sweeps' folders; default: a new temporary one")
    return parser.parse_args(argv)


def cards(text: str) -> list[int]:
    """Return the cards of ``24,16``."""
    found = [int(each) for each in text.split(",")]
    if unknown := set(found) - set(CARDS):
        raise argparse.ArgumentTypeError(f"a card of {unknown.pop()} GB is not known; take some of 24,16,12")
    return found


def model(text: str) -> tuple[str, dict[str, str]]:
    """Return the name and the settings of ``NAME=FOLDER[:TEMPLATE]``; bench/random_model.py's have GLM-4's tokens."""
    name, _, given = text.partition("=")
    folder, _, template = given.partition(":")
    if not (Path(folder) / "config.json").is_file():
        raise argparse.ArgumentTypeError(f"{text}: no config.json in the folder; write NAME=FOLDER[:TEMPLATE]")
    return name, {"MODEL": str(Path(folder).resolve()), "TEMPLATE": template or "glm4"}


if __name__ == "__main__":
    run(main)
