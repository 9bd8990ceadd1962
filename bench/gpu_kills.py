"""Kill parts of small sweeps with SIGKILL at random moments: is anything left, and does the same command end well?

    MODEL=SMOLLM2 TEMPLATE=smollm2 TRAIN_FILE=texts.csv SIZES="32 64" TRAIN_JOBS=2 SERVER=vllm OVERLAP=1 \\
      python bench/gpu_kills.py FOLDER --out kills.json --rounds 2 --victims sweep trainer server engine

Settings come from the environment; MODEL is a folder that is there. One sweep runs undisturbed. For each round and
victim the same sweep starts in a folder of its own below FOLDER; when the victim is there, it is killed after a random
part of the time that it lived in the undisturbed one (``server:40``: of 40 s). Victims are ``sweep``, its bash;
``trainer``; ``server``, `vllm serve` or `llamafactory-cli api`; ``engine``, vLLM's EngineCore. A minute after the sweep
has ended, or was killed, nothing of it may be left, nor more GPU memory in use than before. Then the same command runs
again, and is compared with the undisturbed one. With --together all sweeps of a round run at the same time, the
undisturbed one too where each victim has its seconds; GPU memory is then told by process, and in all at the end.
"""

from __future__ import annotations

import argparse
import contextlib
import json
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
VICTIMS = {
    "sweep": r".*/bin/sweep\.sh",
    "trainer": r"\S*python\S* (.*/llamafactory-cli train|py/fast_trainer\.py) ",
    "server": r"\S*python\S* .*/(vllm serve|llamafactory-cli api) ",
    "engine": "VLLM::EngineCore",
}
Living = dict[int, tuple[int, str]]  # process -> session, command line


class Sweep:
    """A sweep that runs, and every process of it: marked in its environment, or in a session where one was."""

    def __init__(self, folder: Path, number: int) -> None:
        """Start it, or start it again; its ports begin at the number."""
        own = {f"{name}_DIR": str(folder / name.lower()) for name in ("SAVES", "LOGS", "OBJS")}
        own |= {
            "SWEEP_NAME": NAME,
            "API_PORT": str(int(os.environ.get("API_PORT", 8000)) + 20 * number),
            MARK: str(folder),
        }
        self.begun, self.mark = time.monotonic(), f"{MARK}={folder}".encode()
        self.sessions, self.seen = set[int](), set[int]()
        self.first: dict[str, tuple[int | None, float, float]] = {}  # of each victim the first one: seen from, until
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "output").open("ab") as out:
            self.process = subprocess.Popen(
                "bin/sweep.sh", cwd=PROJECT, env=os.environ | own, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def living(self) -> Living:
        """Look at /proc; the title that EngineCore gives itself may cover its mark."""
        self.process.poll()
        found = {}
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError, IndexError):  # it has just ended
                state, _, _, sid = (path / "stat").read_text(errors="replace").rpartition(")")[2].split()[:4]
                ours = int(sid) in self.sessions or self.mark in (path / "environ").read_bytes().split(b"\0")
                if ours and state not in "ZX":
                    found[int(path.name)] = int(sid), (path / "cmdline").read_text(errors="replace").replace("\0", " ")
        self.sessions |= {sid for sid, _ in found.values()}
        self.seen |= found.keys()
        for victim in VICTIMS:
            now = time.monotonic()
            pid, since, _ = self.first.get(victim) or (find(found, victim), now, now)
            if pid in found:
                self.first[victim] = pid, since, now
        return found

    def until(self, reached: Callable[[Living], Any], seconds: float) -> float | None:
        """Look at the living until something is reached; return the seconds it took, None if it did not come."""
        begun = time.monotonic()
        while not reached(self.living()):
            if time.monotonic() - begun > seconds:
                return None
            time.sleep(LOOK)
        return round(time.monotonic() - begun, 1)

    def has_ended(self, _: object = None) -> bool:
        """Return whether its own process has."""
        return self.process.poll() is not None

    def end(self, limit: float) -> dict[str, Any]:
        """Wait for its end; tell its status, its seconds, those until nothing was left, and what was left."""
        if self.until(self.has_ended, limit) is None:
            self.process.terminate()
            self.until(self.has_ended, 2 * PATIENCE)
        code, seconds = self.process.poll(), round(time.monotonic() - self.begun, 1)
        found = {"seconds": seconds, "nothing_left_seconds": self.until(lambda living: not living, PATIENCE)}
        found |= {} if code is None else {"status": 128 - code if code < 0 else code}
        left = self.living()
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return found | {"left": [f"{pid}: {line[:200]}" for pid, (_, line) in left.items()]}

    def gpu_mib(self) -> int:
        """Return the GPU memory of its processes, also of ended ones; 0 where they are not seen."""
        apps = nvidia("compute-apps=pid,used_memory") or []
        return sum(int(mib) for pid, mib in apps if int(pid) in self.seen and mib.isdigit())


def find(living: Living, victim: str) -> int | None:
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
    """Return the GPU memory in use, of all GPUs; None without one."""
    rows = nvidia("gpu=memory.used")
    return None if rows is None else sum(int(mib) for (mib,) in rows)


def settled(read: Callable[[], int | None], most: int) -> int | None:
    """Read until it is so much at most, for 10 s, for the driver may take a moment; return the last."""
    deadline = time.monotonic() + 10
    while (found := read() or 0) > most and time.monotonic() < deadline:
        time.sleep(LOOK)
    return found


def kill(sweep: Sweep, victim: str, moment: float, limit: float) -> dict[str, Any]:
    """Kill the victim so many seconds after it has come, or the next one when it has ended; tell what became of all."""
    sweep.until(lambda living: find(living, victim) or sweep.has_ended(), limit)
    pid = sweep.first.get(victim, (None,))[0]
    sweep.until(sweep.has_ended, moment)
    living = sweep.living()
    pid = pid if pid in living else find(living, victim)
    if pid is None:
        return {"missed": True} | sweep.end(limit)
    session, line = living[pid]
    held, whole = sweep.gpu_mib(), victim == "sweep"  # what that has started has sessions of its own
    os.kill(pid, signal.SIGKILL)
    gone = sweep.until(lambda living: not any(whole or sid == session for sid, _ in living.values()), PATIENCE)
    found = {"moment": round(moment, 1), "pid": pid, "command": line[:80], "group_ended_seconds": gone}
    found |= sweep.end(0 if whole else limit)
    if held:  # otherwise it had none, or it is not told by process
        found |= {"gpu_mib_of_the_sweep": held, "gpu_mib_of_the_sweep_after": settled(sweep.gpu_mib, 0)}
    return found


def runs(folder: Path) -> dict[str, dict[str, Any]]:
    """Return of each finished run its accuracy, number of answers and mean loss."""
    found = {}
    for path in (path for path in sorted(folder.glob(f"objs/{NAME}-*.json")) if "." not in path.stem):
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
    first, second = ({name: each["items"] for name, each in sweep.items()} for sweep in (one, other))
    return {"same_runs": first == second, "runs": other}


def is_clean(kill: dict[str, Any]) -> bool:
    """Return whether it hit, nothing was left, and the same command then ended with the same runs."""
    left = kill["left"] or kill["again"]["left"] or kill.get("gpu_mib_of_the_sweep_after")
    back = kill.get("gpu_mib_after", 0) <= kill.get("gpu_mib_before", 0)
    return bool("pid" in kill and not left and back and kill["again"].get("status") == 0 and kill["same_runs"])


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
    victims = [each.partition(":")[::2] for each in args.victims]
    if unknown := [name for name, _ in victims if name not in VICTIMS]:
        parser.error(f"no victim {unknown[0]!r}; there are {', '.join(VICTIMS)}")
    end_on_signals()
    folder = args.folder.resolve()
    os.environ.setdefault("DATA_DIR", str(folder / "data"))
    subprocess.run(["bin/build_data.sh"], cwd=PROJECT, check=True)
    found: dict[str, Any] = {
        "schema": 1,
        "kind": "gpu_kills",
        "seed": args.seed,
        "together": args.together,
        "kills": [],
    }
    found |= {
        "versions": versions(),
        "git_revision": git_revision(),
        "gpu": [name for (name,) in nvidia("gpu=name") or ()] or None,
        "gpu_mib_before": card_mib(),
    }
    sweeps: list[Sweep] = []
    telling, ending = threading.Lock(), threading.Event()

    def start(where: str, number: int) -> Sweep:
        if ending.is_set():
            raise SystemExit(1)
        sweeps.append(Sweep(folder / where, number))
        return sweeps[-1]

    def undisturbed() -> None:
        sweep = start("undisturbed", 0)
        ended = sweep.end(args.limit)
        ended["lived"] = {victim: round(until - since, 1) for victim, (_, since, until) in sweep.first.items()}
        tell(found, undisturbed=ended | {"runs": runs(folder / "undisturbed")})

    def one(turn: int, number: int, victim: str, seconds: str) -> None:
        within = float(seconds or found["undisturbed"]["lived"].get(victim, 0))
        moment = random.Random(f"{args.seed} {turn} {victim}").random() * within
        before, where = card_mib(), f"{turn}-{victim}"
        each = {"where": where, "victim": victim} | kill(start(where, number), victim, moment, args.limit)
        if before is not None and not args.together:
            each |= {"gpu_mib_before": before, "gpu_mib_after": settled(card_mib, before)}
        found["kills"].append(each)
        tell(each)
        tell(each, again=start(where, number).end(args.limit))

    def tell(part: dict[str, Any], **more: Any) -> None:
        with telling:
            part |= more
            for each in found["kills"]:
                if "again" in each and "undisturbed" in found and "runs" not in each:
                    each |= compare(folder / "undisturbed", folder / each["where"])
                    print("clean" if is_clean(each) else "NOT CLEAN", json.dumps(each), flush=True)
            write_json(args.out, {key: value for key, value in found.items() if value is not None})

    with ThreadPoolExecutor(len(victims) + 1 if args.together else 1) as pool:
        try:
            first = pool.submit(undisturbed)
            if not all(seconds for _, seconds in victims):
                first.result()
            for turn in range(args.rounds):
                for job in [pool.submit(one, turn, number, *each) for number, each in enumerate(victims, 1)]:
                    job.result()
            first.result()
        except BaseException:
            ending.set()
            for sweep in sweeps:
                sweep.process.terminate()
            raise
    if found["gpu_mib_before"] is not None:
        tell(found, gpu_mib_after=settled(card_mib, found["gpu_mib_before"]))
    print(json.dumps({key: value for key, value in found.items() if key not in ("kills", "versions")}))
    back = found.get("gpu_mib_after", 0) <= (found["gpu_mib_before"] or 0)
    return int(not (back and all(map(is_clean, found["kills"])) and found["undisturbed"].get("status") == 0))


if __name__ == "__main__":
    run(main)
