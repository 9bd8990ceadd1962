"""How much of a fast server the evaluation client takes, against LangChain as it comes: one process, one event loop.

    python bench/client.py --rate 1000 --latency 0.05 --items 5000 --rounds 3

Starts bench/stub_server.py, asks the same items in turn in each of the ways, and prints items per second: `asking` from
the first request on, `whole` with the client's imports. Nothing but the client is measured: the answers are fixed. The
CPU time an item (imports and scoring included) is the figure to compare when other programs run on the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT / "py"))

LABELS = ["Physics", "Electricity", "Textiles; Paper", "Chemistry; Metallurgy", "Fixed Constructions"]
RUN = "bench-zero-shot"
WAYS = {
    "ChatOpenAI on its own, 256 at a time": None,
    "ours, 64 at a time": "64",
    "ours, 256 at a time": "256",
    "ours, 512 at a time": "512",
}


def main() -> None:
    """Measure every way in every round and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=1000, help="what the server can take, items/s (default: 1000)")
    parser.add_argument("--latency", type=float, default=0.05, help="of one request, in seconds (default: 0.05)")
    parser.add_argument("--items", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="write the measurements as JSON, too")
    parser.add_argument("--plain", type=Path, nargs=2, help=argparse.SUPPRESS)  # a way of its own process: data, result
    parser.add_argument("--ours", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.plain:
        asyncio.run(plain(args.url, *args.plain))
        return
    if args.ours:
        ours(args.url, *args.ours)
        return
    serve = [sys.executable, str(PROJECT / "bench/stub_server.py"), "--rate", str(args.rate)]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen([*serve, "--latency", str(args.latency)], stdout=subprocess.PIPE, text=True) as server,
    ):
        try:
            assert server.stdout is not None
            url = server.stdout.readline().strip()
            data = Path(folder) / "data"
            write_data(data, args.items)
            found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
            for number in range(args.rounds):
                for way, concurrency in WAYS.items():
                    before = cpu_seconds()
                    measured = measure(url, server.pid, data, concurrency, Path(folder) / f"{number} {way}")
                    found[way].append(measured | {"cpu_seconds": cpu_seconds() - before})
        finally:
            server.terminate()
    print_table(found, args.rate)
    if args.out:
        args.out.write_text(json.dumps({"rate": args.rate, "latency": args.latency, "ways": found}, indent=2) + "\n")


def write_data(folder: Path, items: int) -> None:
    """Write a data folder: prompts as long as those of the original's experiment, all labels the same."""
    from fewshot_sft.data.prompts import DOCUMENT_PREFIX, render_instruction

    folder.mkdir()
    words = "a process for the production of woven cloth wherein the yarn is wound upon a beam and dried with air "
    rows = [
        {"instruction": render_instruction(LABELS), "input": f"{DOCUMENT_PREFIX}{n} {words * 5}", "output": "Physics"}
        for n in range(items)
    ]
    path = folder / "llm_test.json"
    path.write_text(json.dumps(rows))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps({"labels": LABELS, "splits": {"llm_test": {"sha256": sha256}}}))
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_text("none: the server needs no weights")


def measure(url: str, pid: int, data: Path, concurrency: str | None, out: Path) -> dict[str, float]:
    """Ask all items once; returns seconds, and those before the first request."""
    command = [sys.executable, __file__, "--url", url]
    command += ["--plain", str(data), str(out)]
    if concurrency is not None:
        command[-3:] = ["--ours", str(pid), str(data), concurrency, str(out)]
    environment = os.environ | {"FEWSHOT_API_KEY": "none"}
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if concurrency is None:
        return json.loads(out.read_text())
    timings = json.loads((out / f"{RUN}.json").read_text())["timings"]
    return {key: value for key, value in timings.items() if not isinstance(value, str)}


def ours(url: str, pid: str, data: str, concurrency: str, out: str) -> None:
    """Our evaluation of the base model, with CONCURRENCY."""
    from fewshot_sft import runs
    from fewshot_sft.evaluation.evaluation import Evaluation
    from fewshot_sft.serving.server import Server
    from fewshot_sft.settings import Settings

    template = Path(data) / "none/none.json"
    template.parent.mkdir(exist_ok=True)
    template.write_text('{"stop_token_ids": []}')
    values = {
        "SWEEP_NAME": "bench",
        "MODEL": data,
        "MODEL_NAME": "none",
        "TEMPLATE": "none",
        "CONCURRENCY": concurrency,
    }
    values |= {"SERVER": "vllm", "BACKEND": "vllm", "CONCURRENCY": concurrency}
    values |= {"DATA_DIR": data, "SAVES_DIR": data, "OBJS_DIR": out}
    evaluation = Evaluation(runs.zero_shot(Settings(values)))
    assert evaluation.make(Server(url, int(pid), "the server")) == 0


def cpu_seconds() -> float:
    """Return the CPU time of all processes that have ended, of the client's and those that they started."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


async def plain(url: str, data: Path, out: Path) -> None:
    """The usual way: one ChatOpenAI, a semaphore, a task for each item."""
    begin = time.monotonic()
    from langchain_core.messages import HumanMessage, SystemMessage
    from langchain_openai import ChatOpenAI

    items = json.loads((data / "llm_test.json").read_text())
    model = ChatOpenAI(base_url=url, model="stub", api_key="none", temperature=0)
    free = asyncio.Semaphore(256)

    async def ask(item: dict[str, str]) -> str:
        async with free:
            answer = await model.ainvoke([SystemMessage(item["instruction"]), HumanMessage(item["input"])])
        return str(answer.content).strip()

    started = time.monotonic()
    answers = await asyncio.gather(*map(ask, items))
    assert answers == ["Physics"] * len(items)
    ended = time.monotonic()
    result = {"answered": len(items), "seconds": ended - begin, "client_start_seconds": started - begin}
    out.write_text(json.dumps(result))


def print_table(found: dict[str, list[dict[str, float]]], rate: float) -> None:
    """Print the medians of all rounds, and how they compare with the first way of the same round."""
    print(f"{'':38}  asking  of the server  times the first  whole  CPU ms")
    first = next(iter(found.values()))
    for way, rounds in found.items():
        asking = [asking_rate(one) for one in rounds]
        times = median(mine / asking_rate(base) for mine, base in zip(asking, first, strict=True))
        whole = median(one["answered"] / one["seconds"] for one in rounds)
        cpu = min(one["cpu_seconds"] / one["answered"] for one in rounds) * 1000
        share = median(asking) / rate
        print(f"{way:38}  {median(asking):6.0f}  {share:13.0%}  {times:15.2f}  {whole:5.0f}  {cpu:6.2f}")


def asking_rate(one: dict[str, float]) -> float:
    """Return items per second from the first request on."""
    return one["answered"] / (one["seconds"] - one["client_start_seconds"])


if __name__ == "__main__":
    main()
