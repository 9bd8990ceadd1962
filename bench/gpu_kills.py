"""Kill parts of small sweeps with SIGKILL at random moments: what is left of each, and does the same command end well?

    MODEL=SMOLLM2 TEMPLATE=smollm2 TRAIN_FILE=texts.csv SIZES="32 64" TRAIN_JOBS=2 SERVER=vllm OVERLAP=1 \\
      python bench/gpu_kills.py FOLDER --out kills.json --together

Settings come from the environment; MODEL is a folder that is there. One sweep runs undisturbed. For each round and
victim the same sweep starts in a folder of its own below FOLDER; when the victim is there, it is killed after a random
part of the time that it lived in the undisturbed one (``server:40``: of 40 s). Victims are ``sweep``, its bash;
``trainer``; ``server``, `vllm serve` or `llamafactory-cli api`; ``engine``, vLLM's EngineCore. When the sweep has ended,
or was killed, nothing of it may be left a minute later, nor more GPU memory in use than before. Then the same command
runs again, and is compared with the undisturbed one. With --together all sweeps of a round run at the same time, the
undisturbed one too where each victim has its seconds; GPU memory is then told by process, and in all at the end.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "py"))

from agreement import answers

from fewshot_sft.jsonio import read_json, write_json
from fewshot_sft.program import end_on_signals, run
from fewshot_sft.provenance import PROJECT, git_revision, versions

NAME, MARK = "kills", "FEWSHOT_KILLS"
PATIENCE, LOOK = 60.0, 0.2  # seconds: until nothing may be left; between two looks
PYTHON = r"\S*python\S* "
VICTIMS = {
    "sweep": r".*/bin/sweep\.sh",
    "trainer": PYTHON + r"(\S*/llamafactory-cli train|py/fast_trainer\.py) ",
    "server": PYTHON + r"\S*/(vllm serve|llamafactory-cli api) ",
    "engine": "VLLM::EngineCore",
}
ENDING = threading.Event()


class Sweep:
    """A sweep that runs, and every process of it: marked in its environment, or in a session where one was."""

    def __init__(self, folder: Path, number: int) -> None:
        """Start it, or start it again."""
        folder.mkdir(parents=True, exist_ok=True)
        own = {f"{name}_DIR": str(folder / name.lower()) for name in ("SAVES", "LOGS", "OBJS")}
        own |= {"SWEEP_NAME": NAME, "API_PORT": str(int(os.environ.get("API_PORT", 8000)) + 20 * number)}
        self.mark = f"{MARK}={folder}-{time.monotonic_ns()}"
        environment = os.environ | own | dict([self.mark.split("=", 1)])
        self.begun, self.sessions, self.seen = time.monotonic(), set[int](), set[int]()
        self.lived: dict[str, tuple[int | None, float, float]] = {}  # of each victim the first one: seen from, until
        with (folder / "output").open("ab") as output:
            if ENDING.is_set():
                raise SystemExit(1)
            self.process = subprocess.Popen(
                ["bin/sweep.sh"],
                cwd=PROJECT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def living(self) -> dict[int, tuple[int, str]]:
        """Return session and command line of each live process. A title may cover the mark, as EngineCore's does."""
        self.process.poll()
        found, wanted = {}, self.mark.encode()
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError, IndexError):  # it has just ended
                state, _, _, sid = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[:4]
                marked = int(sid) in self.sessions or wanted in (folder / "environ").read_bytes().split(b"\0")
                if marked and state not in "ZX":
                    line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                    found[int(folder.name)] = int(sid), line
        self.sessions |= {sid for sid, _ in found.values()}
        self.seen |= set(found)
        for victim in VICTIMS:
            now = time.monotonic()
            pid, since, _ = self.lived.get(victim) or (find(found, victim), now, now)
            if pid in found:
                self.lived[victim] = pid, since, now
        return found

    def until(self, reached: Callable[[dict[int, tuple[int, str]]], Any], seconds: float) -> float | None:
        """Look at the living until something is reached; return the seconds it took, None if it did not come."""
        begun = time.monotonic()
        while not reached(self.living()):
            if time.monotonic() - begun > seconds:
                return None
            time.sleep(LOOK)
        return round(time.monotonic() - begun, 1)

    def end(self, limit: float) -> dict[str, Any]:
        """Wait for its end; tell its status, its seconds, those until nothing was left, and what was left."""
        if self.until(lambda _: self.process.poll() is not None, limit) is None:
            self.process.terminate()
            self.until(lambda _: self.process.poll() is not None, 2 * PATIENCE)
        code, seconds = self.process.poll(), round(time.monotonic() - self.begun, 1)
        found: dict[str, Any] = {} if code is None else {"status": 128 - code if code < 0 else code}
        found |= {"seconds": seconds, "nothing_left_seconds": self.until(lambda living: not living, PATIENCE)}
        found["left"] = [f"{pid}: {line[:200]}" for pid, (_, line) in self.living().items()]
        for pid in self.living():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return found

    def gpu_mib(self) -> int | None:
        """Return the GPU memory of its processes, ended ones too; None where it has none or none can be seen."""
        apps = nvidia("compute-apps=pid,used_memory") or []
        return sum(int(mib) for pid, mib in apps if int(pid) in self.seen and mib.isdigit()) or None


def find(living: dict[int, tuple[int, str]], victim: str) -> int | None:
    """Return the first such process: the leader of its session, or EngineCore, which a server has beside it."""
    named = (pid for pid, (_, line) in living.items() if re.match(VICTIMS[victim], line))
    return min((pid for pid in named if victim == "engine" or living[pid][0] == pid), default=None)


def nvidia(what: str) -> list[list[str]] | None:
    """Return the rows that nvidia-smi tells, None without it."""
    command = ["nvidia-smi", f"--query-{what}", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return [line.split(", ") for line in said.splitlines()]


def card_mib() -> int | None:
    """Return the GPU memory in use, of all GPUs."""
    rows = nvidia("gpu=memory.used")
    return None if rows is None else sum(int(mib) for (mib,) in rows)


def kill(sweep: Sweep, victim: str, moment: float, limit: float) -> dict[str, Any]:
    """Kill the victim so many seconds after it has come, or the next one when it has ended; tell what became of all."""
    sweep.until(lambda living: find(living, victim) or sweep.process.poll() is not None, limit)
    pid = sweep.lived.get(victim, (None,))[0]
    sweep.until(lambda _: sweep.process.poll() is not None, moment)
    pid = pid if pid in (living := sweep.living()) else find(living, victim)
    if pid is None:
        return {"missed": True} | sweep.end(limit)
    found: dict[str, Any] = {"moment": round(moment, 1), "pid": pid, "command": living[pid][1][:80]}
    group = living[pid][0]
    if (held := sweep.gpu_mib()) is not None:
        found["gpu_mib_of_the_sweep"] = held
    os.kill(pid, signal.SIGKILL)
    whole = victim == "sweep"  # what it had started has sessions of its own
    gone = sweep.until(lambda living: not any(whole or sid == group for sid, _ in living.values()), PATIENCE)
    found |= {"group_ended_seconds": gone} | sweep.end(0 if whole else limit)
    if held is not None:
        found["gpu_mib_of_the_sweep_after"] = sweep.gpu_mib() or 0
    return found


def runs(folder: Path) -> dict[str, dict[str, Any]]:
    """Return of each finished run its accuracy, number of answers and mean loss."""
    found = {}
    for path in sorted(folder.glob(f"objs/{NAME}-*.json")):
        if "." not in path.stem:
            record = read_json(path)
            found[path.stem] = {"accuracy": record["metrics"]["accuracy"], "items": record["counts"]["items"]}
            for training in folder.glob(f"saves/*/lora/{path.stem}/training.json"):
                found[path.stem]["loss"] = read_json(training)["loss"]["mean"]
    return found


def compare(undisturbed: Path, folder: Path) -> dict[str, Any]:
    """Return the runs of a sweep beside the undisturbed ones: equal answers, how far the losses are apart."""
    one, other = runs(undisturbed), runs(folder)
    for name in one.keys() & other.keys():
        pairs = zip(answers(undisturbed / "objs", name), answers(folder / "objs", name), strict=True)
        other[name] |= {"undisturbed": one[name]["accuracy"], "equal": sum(a == b for a, b in pairs)}
        if "loss" in one[name]:
            other[name]["loss_difference"] = round(other[name]["loss"] - one[name]["loss"], 6)
    sizes = [{name: each["items"] for name, each in sweep.items()} for sweep in (one, other)]
    return {"same_runs": sizes[0] == sizes[1], "runs": other}


def as_undisturbed(kill: dict[str, Any]) -> bool:
    """Return whether it hit, nothing was left, and the same command then ended with the same runs."""
    clean = not (kill["left"] or kill["again"]["left"]) and kill.get("gpu_mib_of_the_sweep_after", 0) == 0
    clean &= kill.get("gpu_mib_after", 0) <= kill.get("gpu_mib_before", 0)
    return clean and "pid" in kill and kill["again"].get("status") == 0 and kill["same_runs"]


def line_of(kill: dict[str, Any]) -> str:
    """Return what became of a kill, in a line."""
    runs = (
        f"{name} {each['accuracy']:.4f} ({each['undisturbed']:.4f}), {each['equal']} of {each['items']} equal"
        + (f", loss {each['loss_difference']:+.6f}" if "loss_difference" in each else "")
        for name, each in kill["runs"].items()
        if "undisturbed" in each
    )
    told = (
        "moment",
        "group_ended_seconds",
        "status",
        "seconds",
        "nothing_left_seconds",
        "left",
        "gpu_mib_of_the_sweep",
    )
    told += ["gpu_mib_of_the_sweep_after", "gpu_mib_before", "gpu_mib_after", "missed"]
    said = [f"{key} {kill[key]}" for key in told if key in kill] + [f"again {kill['again']}", *runs]
    return f"{'ok' if as_undisturbed(kill) else 'NOT OK'}: {kill['round']} {kill['victim']}: " + "; ".join(said)


def main(argv: list[str]) -> int:
    """Run the sweeps, write the JSON after each; 1 where something was left or a sweep did not end as it should."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a new or empty folder")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--victims", nargs="+", default=list(VICTIMS), metavar="VICTIM[:SECONDS]")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=float, default=1800, help="seconds that a sweep may take")
    parser.add_argument("--together", action="store_true")
    args = parser.parse_args(argv)
    end_on_signals()
    folder = args.folder.resolve()
    os.environ.setdefault("DATA_DIR", str(folder / "data"))
    subprocess.run(["bin/build_data.sh"], cwd=PROJECT, check=True)
    found: dict[str, Any] = {"schema": 1, "kind": "gpu_kills", "seed": args.seed, "together": args.together}
    found |= {"versions": versions(), "git_revision": git_revision(), "kills": []}
    for key, value in (("gpu", nvidia("gpu=name")), ("gpu_mib_before", card_mib())):
        found |= {} if value is None else {key: value}
    lock, sweeps = threading.Lock(), list[Sweep]()

    def start(where: str, number: int) -> Sweep:
        sweeps.append(Sweep(folder / where, number))
        return sweeps[-1]

    def undisturbed() -> None:
        sweep = start("undisturbed", 0)
        ended = sweep.end(args.limit)
        ended["lived"] = {victim: round(until - since, 1) for victim, (_, since, until) in sweep.lived.items()}
        with lock:
            found["undisturbed"] = ended | {"runs": runs(folder / "undisturbed")}
        tell()

    def one(turn: int, number: int, victim: str, seconds: str) -> None:
        within = float(seconds or found["undisturbed"]["lived"].get(victim, 0))
        moment = random.Random(f"{args.seed} {turn} {victim}").random() * within
        where = f"{turn}-{victim}"
        before = card_mib()
        each = {"round": turn, "victim": victim} | kill(start(where, number), victim, moment, args.limit)
        if before is not None and not args.together:
            each |= {"gpu_mib_before": before, "gpu_mib_after": card_mib()}
        with lock:
            found["kills"].append(each)
        tell()
        each["again"] = start(where, number).end(args.limit)
        tell()

    def tell() -> None:
        with lock:
            for each in found["kills"]:
                if "again" in each and "undisturbed" in found and "runs" not in each:
                    each |= compare(folder / "undisturbed", folder / f"{each['round']}-{each['victim']}")
                    print(line_of(each), flush=True)
            write_json(args.out, found)

    victims = [each.partition(":")[::2] for each in args.victims]
    with ThreadPoolExecutor(len(victims) + 1 if args.together else 1) as pool:
        try:
            first = pool.submit(undisturbed)
            if not (args.together and all(seconds for _, seconds in victims)):
                first.result()
            for turn in range(args.rounds):
                for job in [pool.submit(one, turn, number, *each) for number, each in enumerate(victims, 1)]:
                    job.result()
            first.result()
        except BaseException:
            ENDING.set()
            for sweep in sweeps:
                sweep.process.terminate()
            raise
    if found.get("gpu_mib_before") is not None:
        found["gpu_mib_after"] = card_mib()
    tell()
    print(
        f"undisturbed: {found['undisturbed']}",
        f"GPU: {found.get('gpu_mib_before')} MiB before, {found.get('gpu_mib_after')} after",
        sep="\n",
    )
    bad = [each for each in found["kills"] if not as_undisturbed(each)]
    return int(bool(bad) or found.get("gpu_mib_after", 0) > found.get("gpu_mib_before", 0))


if __name__ == "__main__":
    run(main)
