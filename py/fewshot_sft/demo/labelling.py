"""What each run of a sweep says of texts that a person has at hand."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module

from .. import runs
from ..asynchronous import run_async
from ..errors import UserError
from ..evaluation.questions import EvaluationSet
from ..identity import read_record
from ..methods import Answers, task_of
from ..runs import Run
from ..serving import label_tokens
from ..serving.client import Answer, ChatClient, Refused, Retry, Unanswered
from ..serving.label_scorer import scorer_of
from ..serving.prompt import stop_token_ids
from ..settings import Settings
from ..text import comparable
from .model_server import ModelServer

AT_ONCE = 16  # questions to `vllm serve`

Learnt = Callable[[Sequence[str]], Answers]


@dataclass(frozen=True)
class Said:
    """What a run said of one text; ``label`` is None where that is no label, ``probability`` where there is none."""

    label: str | None
    text: str
    probability: float | None
    seconds: float


def choices(sweeps: Iterable[Settings]) -> dict[Run, float | None]:
    """Return the runs of these sweeps that can be asked, each with its macro-F1 where it is evaluated.

    Adapters that are trained, the base model, and the methods that learn in seconds, on the training subsets.
    """
    found: dict[Run, float | None] = {}
    for settings in sweeps:
        zero_shot = runs.zero_shot(settings)
        trained = [run for run in runs.trainings(settings) if _is_trained(run)]
        cheap = [run for method in runs.ON_CPU for run in runs.baselines(settings, method) if run.data_file.is_file()]
        for run in (zero_shot, *trained, *cheap):
            f1 = read_record(run.result(".json")).get("metrics", {}).get("f1")
            found[run] = f1 if isinstance(f1, float) else None
    return found


def _is_trained(run: Run) -> bool:
    return read_record(run.adapter / "training.json").get("status") == "done"


def is_served(run: Run) -> bool:
    """Return whether a server answers for the run."""
    return run.method not in runs.ON_CPU


def learn(run: Run, classes: Sequence[str]) -> Learnt:
    """Learn a method's run from its training subset; return what answers to texts, which have their prefix.

    Raises:
        UserError: it cannot be.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    return import_module(f"fewshot_sft.methods.{run.method}").learn(task_of(run, [], classes), run.settings)


def ask_learnt(learnt: Learnt, classes: Sequence[str], questions: Sequence[str]) -> list[Said]:
    """Ask what :func:`learn` returned."""
    begin = time.monotonic()
    found = learnt(questions)
    seconds = (time.monotonic() - begin) / len(questions)
    pairs = zip(found.answers, found.probabilities, strict=True)
    return [Said(answer, answer, float(row[classes.index(answer)]), seconds) for answer, row in pairs]


def ask_served(
    run: Run,
    server: ModelServer,
    others: Sequence[Run],
    data: EvaluationSet,
    questions: Sequence[str],
    progress: Callable[[float], None],
) -> list[Said]:
    """Ask the base model or an adapter; ``progress`` hears which share is done.

    Raises:
        UserError: the server cannot be started, or did not answer.
    """
    settings = run.settings
    of_all = settings["SERVER"] == "vllm"
    with server.serving(run, others) as (url, key):
        tokens = label_tokens.read(settings, data.labels) if of_all else ((), ())

        async def ask() -> list[Answer]:
            client = ChatClient(
                url,
                run.served_as,
                key,
                max_tokens=settings.max_tokens,
                timeout=settings.request_timeout,
                retry=Retry(1),
                stop_token_ids=stop_token_ids(settings),
                scorer=scorer_of(run, tokens),
            )
            free, done = asyncio.Semaphore(AT_ONCE if of_all else 1), 0

            async def one(question: str) -> Answer:
                nonlocal done
                async with free:
                    answer = await client.ask(data.items[0].instruction, question)
                done += 1
                progress(done / len(questions))
                return answer

            try:
                return await asyncio.gather(*map(one, questions))
            finally:
                await client.close()

        try:
            answers = run_async(ask())
        except Refused as error:
            raise UserError(str(error)) from None
        except Unanswered as error:
            server.stop()  # it is gone, or busy for long
            raise UserError(f"{error}; its server starts anew when it is asked again (log: {server.log})") from None
    known = {comparable(label): position for position, label in enumerate(data.labels)}
    return [_said(answer, known.get(comparable(answer.text)), data.labels) for answer in answers]


def _said(answer: Answer, position: int | None, labels: Sequence[str]) -> Said:
    text = answer.text.strip()
    if position is None:
        return Said(None, text, None, answer.seconds)
    probability = answer.scores[position] / sum(answer.scores) if answer.scores and sum(answer.scores) else None
    return Said(labels[position], text, probability, answer.seconds)
