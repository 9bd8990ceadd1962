"""Which runs of a sweep are not there, whole and of these settings: asked once, for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .. import runs
from ..errors import UserError
from ..evaluation import questions, without_server
from ..evaluation.evaluation import Evaluation
from ..methods import Unavailable
from ..runs import Run
from ..settings import Settings
from ..training.command import complete
from ..training.deciding import decide


def find(settings: Settings, commands: Mapping[str, Sequence[str]]) -> list[Run]:
    """Return the runs that a task has something to do for, in the order of :func:`runs.every`.

    Args:
        settings: of the sweep, with its hardware plan.
        commands: the trainer's, by run.
    """
    largest = max(runs.sizes(settings)) if settings.match_steps else None
    found = [run for run in runs.evaluations(settings) if not _is_evaluated(run, commands.get(run.name), largest)]
    for method in (*runs.ON_CPU, *runs.ON_GPU):
        found += _missing_of(method, settings)
    return found


def _is_evaluated(run: Run, command: Sequence[str] | None, largest: int | None) -> bool:
    try:
        if run.is_trained:
            assert run.size is not None
            assert command is not None
            if run.settings.force or decide(run, complete(command, run.size, largest)).action != "skip":
                return False
        return not run.settings.force and Evaluation(run).why_made() is None
    except UserError:  # data, model or adapter are not there, or damaged
        return False


def _missing_of(method: str, settings: Settings) -> list[Run]:
    wanted = runs.baselines(settings, method)
    if not wanted or settings.task == runs.GENERATION:
        return []
    try:
        model = without_server.model_of(method, settings, fetch=False)
        data = questions.load(settings.data_dir, settings["SPLIT"], settings.eval_limit)
        return [run for run in wanted if without_server.look(run, model, data).why_made() is not None]
    except (Unavailable, UserError):
        return wanted
