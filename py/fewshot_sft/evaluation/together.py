"""SERVER=vllm: one server for the base model and all adapters; each run has a process that asks it, all at once."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack

from .. import runs
from ..children import Child
from ..errors import UserError
from ..log import say, say_why, show_tail
from ..outcomes import outcomes
from ..program import DONE, FAILED, TO_MEND
from ..runs import Run
from ..serving import prompt
from ..serving.check import check
from ..serving.server import HOST, NoServer, Server, serve
from ..settings import Settings
from . import trained
from .one import lock, look

WORKER = ("python", "py/eval.py")
RUST = "VLLM_USE_RUST_FRONTEND=1"  # in the command, where vLLM's front end in Rust is used
INTERVAL = 0.1  # seconds between two looks at the workers
GRACE = 5.0  # seconds after which a training that has not ended is one


def evaluate(settings: Settings, chosen: Sequence[Run], command: Sequence[str], follow: int | None) -> int:
    """Evaluate the runs through `vllm serve`, started again where it dies or hangs in the middle; answers are kept.

    Args:
        settings: of the sweep.
        chosen: the runs.
        command: of `vllm serve`.
        follow: the process that trains them meanwhile: each run is evaluated when its training has ended.

    Returns DONE, or FAILED when some have failed.
    """
    failed: list[Run] = []
    todo = _to_do(chosen, failed, follow)
    restarts = 0
    while todo:
        try:
            with served(settings, command) as server:
                again, why = _ask(server, todo, failed, follow)
        except NoServer as error:
            if RUST in command:
                say("the server is started again, with vLLM's front end in Python")
                command = in_python(command)
                continue
            if not follow:
                _fail(todo, str(error), failed)
                break
            say("the server could not be started beside the training; it is started again when that has ended")
            trained.wait(None, follow)
            follow = None
            continue
        if not again:
            break
        if restarts == settings.server_restarts:
            count = restarts + 1
            if follow:  # what took the GPU or the memory from them may have been the training
                say(f"{count} server(s) ended beside the training; the next one is started when that has ended")
                trained.wait(None, follow)
                follow, restarts, todo, command = None, 0, again, in_python(command)
                continue
            say_why(f"not evaluated after {count} server(s): {_titles(again)}: run the same command again to go on")
            _fail(again, why, failed)
            break
        restarts += 1
        most = settings.server_restarts
        front = ", with vLLM's front end in Python," if RUST in command else ""
        say(f"starting a new server ({restarts} of {most}){front} for {_titles(again)}: answers so far are kept")
        todo, command = again, in_python(command)  # what the first one died of may be its own
    if failed:
        say(f"evaluation failed: {_titles(failed)}")
    return FAILED if failed else DONE


def in_python(command: Sequence[str]) -> list[str]:
    """Return bin/eval.sh's command of `vllm serve` without its front end in Rust, if it has that, and CUDA graphs."""
    if RUST not in command:
        return list(command)
    return [*command[list(command).index("vllm") :], "--enforce-eager", "--generation-config", "vllm"]


def _to_do(chosen: Sequence[Run], failed: list[Run], follow: int | None) -> list[Run]:
    """Return the runs that there is something to ask for, and those of which that is not known yet.

    What is trained already is passed over in no time: where nothing is to be trained or asked, no server is started.
    """
    todo: set[Run] = set()
    unknown = list(chosen)
    deadline = time.monotonic() + GRACE
    while unknown and not todo and time.monotonic() < deadline:
        for run in list(unknown):
            if not follow or not run.is_trained or trained.has_ended(run, follow):
                deadline = time.monotonic() + GRACE
                unknown.remove(run)
                if _is_to_do(run, failed):
                    todo.add(run)
        time.sleep(INTERVAL if unknown and not todo else 0)
    return [run for run in chosen if run in todo or run in unknown]


def _is_to_do(run: Run, failed: list[Run]) -> bool:
    """Return whether there is something to ask; else what became of it is noted."""
    try:
        with outcomes.of_run("evaluation", run.name, run.log("server")) as ended, lock(run):
            if look(run) is not None:
                return True
            ended("skipped")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        failed.append(run)
    return False


def served(settings: Settings, command: Sequence[str], host: str = HOST) -> AbstractContextManager[Server]:
    """Start the server, and wait until the base model answers, and its probe set with ADAPTER_CHECK.

    Raises:
        NoServer: its chat template cannot be made.
    """
    # A process of its own: it imports LLaMA-Factory.
    with Child("the chat template", ["python", "py/chat_template.py"], patience=settings.stop_timeout) as template:
        while template.wait(60) is None:
            pass
    if template.status():
        raise NoServer("the chat template could not be made")
    base = runs.zero_shot(settings)
    log = runs.server_log(settings)

    def usable(server: Server) -> None:
        wait, ready = settings.ready_timeout, log.with_suffix(".json")
        prompts = prompt.compared(settings) if RUST in command else ()
        check(base, server.url, server.pid, wait, asks_probe_set=settings.adapter_check, ready=ready, prompts=prompts)

    return serve(base, command, log, usable, host)


def _ask(server: Server, todo: Sequence[Run], failed: list[Run], follow: int | None) -> tuple[list[Run], str]:
    """Let a worker for each run ask the server; a server that has died or hangs ends them all.

    Adds to ``failed``; returns the runs that a new server is for, in their order, and why.
    """
    again: set[Run] = set()
    patience = todo[0].settings.stop_timeout
    options = ["--at", server.url, "--server-pid", str(server.pid)]
    options += ["--follow", str(follow)] if follow else []
    with ExitStack() as stack:
        running = {
            run: stack.enter_context(
                Child(f"the evaluation of {run.title}", [*WORKER, run.name, *options], patience=patience)
            )
            for run in todo
        }
        why, ended = "", False
        while running and not why:
            time.sleep(INTERVAL)
            if ended := server.has_ended():
                why = f"{server.title} ended in the middle"
            for run, worker in list(running.items()):
                status = worker.status()
                if status is None:
                    continue
                worker.stop()
                del running[run]
                if status in (FAILED, TO_MEND):
                    failed.append(run)
                elif status != DONE:
                    again.add(run)
                    why = why or f"{run.title}: its evaluation ended with status {status}"
        again |= running.keys()
    if ended or (why and server.has_ended()):
        show_tail(runs.server_log(todo[0].settings))
    return [run for run in todo if run in again], why


def _fail(some: Iterable[Run], why: str, failed: list[Run]) -> None:
    for run in some:
        failed.append(run)
        with outcomes.of_run("evaluation", run.name, run.log("server")) as ended:
            outcomes.note_reason(why)
            ended("failed")


def _titles(some: Iterable[Run]) -> str:
    return "; ".join(run.title for run in some)
