"""The evaluation of one run, from the look at what is there to its outcome; with a server of its own or at one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from .. import locks, runs
from ..errors import UserError
from ..log import say, say_why, show_tail
from ..outcomes import outcomes
from ..program import AGAIN, DONE, FAILED
from ..runs import Run
from ..serving import probe_set
from ..serving.check import NotApplied, check, say_not_applied
from ..serving.fused import for_vllm
from ..serving.probe import NoAnswer, Refusal
from ..serving.server import NoServer, Server, serve
from . import trained
from .evaluation import Evaluation
from .files import EvaluationFiles

ADAPTER_FLAGS = ("--adapter_name_or_path", "--finetuning_type")


def evaluate(run: Run, make: Callable[[Evaluation], int]) -> int:
    """Evaluate a run unless that is done, by ``make``, which returns an exit status; its outcome is noted.

    Raises:
        UserError: there is something for the user to mend.
    """
    with outcomes.of_run("evaluation", run.name, run.log("server")) as ended, lock(run):
        evaluation = look(run)
        if evaluation is None:
            ended("skipped")
            return DONE
        status = make(evaluation)
        ended("done" if status == DONE else "failed")
        return status


def look(run: Run) -> Evaluation | None:
    """Return the evaluation that is to be made; None when it is there, after saying so.

    Raises:
        UserError: it cannot be made.
    """
    trained.check(run)
    evaluation = Evaluation(run)
    if evaluation.why_made() is not None:
        return evaluation
    print(f"{run.title}: already evaluated ({evaluation.files.record})")
    return None


def lock(run: Run) -> AbstractContextManager[int]:
    """Hold the lock of a run's evaluation; of one that was killed parts may still be ending."""
    return locks.hold(EvaluationFiles(run).lock, run.title, patience(run))


def patience(run: Run) -> float:
    """Return how long another process is waited for, in seconds."""
    return run.settings.stop_timeout + 30.0


def with_own_server(evaluation: Evaluation, command: Sequence[str]) -> int:
    """Evaluate through servers of our own, one after the other where one dies or hangs in the middle; answers are kept.

    ``command`` is that of `llamafactory-cli api`, with the adapter as it was trained.
    """
    run = evaluation.run
    settings, log = run.settings, run.log("server")
    try:
        base = _base_answers(run, command) if run.is_trained and settings.adapter_check else None
    except NoServer:
        say_why(f"{run.title}: not evaluated, the base model could not be asked; --adapter-check 0 goes without")
        return FAILED
    if run.is_trained and settings["BACKEND"] == "vllm":
        adapter = str(for_vllm(run.adapter))
        command = [adapter if word == str(run.adapter) else word for word in command]

    def usable(server: Server) -> None:
        check(run, server.url, server.pid, settings.ready_timeout, base=base, ready=log.with_suffix(".json"))

    most = settings.server_restarts
    for restarts in range(most + 1):
        if restarts:
            say(f"{run.title}: starting a new server ({restarts} of {most}); answers so far are kept")
        try:
            with serve(run, command, log, usable) as server:
                say(f"{run.title}: evaluating on {server.url}")
                if evaluation.make(server) == DONE:
                    return DONE
                server.has_ended(wait=0.5)
                show_tail(log)
        except NoServer:
            return FAILED
    say(f"{run.title}: not evaluated after {most + 1} server(s); run the same command again to go on")
    return FAILED


def _base_answers(run: Run, command: Sequence[str]) -> list[str]:
    """Return the base model's answers to the probe set: an adapter whose answers are the same has not been applied.

    They are asked for once, by whichever run comes first.

    Raises:
        NoServer: its server could not be started.
    """
    base = runs.zero_shot(run.settings)
    with locks.hold(probe_set.file_of(base).with_name(f".{base.name}.probe.lock"), run.title, patience(run)):
        try:
            return probe_set.answers_of(base)
        except UserError:
            say(f"{run.title}: first the base model is asked, to tell an adapter that is not applied")

        def asked(server: Server) -> None:
            check(base, server.url, server.pid, run.settings.ready_timeout, asks_probe_set=True)

        plain = list(command)
        for flag in ADAPTER_FLAGS:
            at = plain.index(flag)
            del plain[at : at + 2]
        with serve(base, plain, base.log("probe"), asked):
            return probe_set.answers_of(base)


def at_server(evaluation: Evaluation, server: Server) -> int:
    """Evaluate through a server that runs, and if it is `vllm serve` loads the run's adapter.

    Returns AGAIN when a new server may do better.
    """
    run = evaluation.run
    settings = run.settings
    load = base = None
    if run.is_trained and settings["SERVER"] == "vllm":
        load = for_vllm(run.adapter)
        if settings.adapter_check:
            base = probe_set.answers_of(runs.zero_shot(settings))
    ready = run.log("server").with_suffix(".json")
    try:
        check(run, server.url, server.pid, settings.request_timeout, load=load, base=base, ready=ready)
    except NotApplied as error:
        say_not_applied(run, error)
        return FAILED
    except NoAnswer as error:
        say_why(f"{run.title}: {error}")
        return FAILED if isinstance(error, Refusal) else AGAIN
    say(f"{run.title}: evaluating on {server.url}")
    return evaluation.make(server)
