"""A method without a server, for all its runs: what decides each, whether it is there, and how it is made."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

from .. import locks
from ..errors import UserError
from ..identity import changes, read_record
from ..jsonio import sha256_file, sha256_json
from ..methods import Answers, Task, Unavailable, encoders, task_of
from ..outcomes import outcomes
from ..provenance import now, versions
from ..replaced import set_aside
from ..runs import Run
from ..serving.weights import model_identity
from ..settings import Settings
from . import label_probabilities
from .evaluated import write
from .files import EvaluationFiles, identity_of
from .predictions import KIND, Prediction, PredictionLog
from .questions import EvaluationSet

# Raised when a method answers otherwise than before: its earlier records are then made anew.
VERSION = 3
PACKAGES = ("scikit-learn", "sentence-transformers", "transformers", "torch", "setfit")
MODULES = {
    "tfidf": "tfidf",
    "embedding": "embedding",
    "llm-embedding": "llm_embedding",
    "encoder": "encoder",
    "setfit": "setfit_",
}


@dataclass(frozen=True)
class Baseline:
    """One run that is to be made."""

    run: Run
    decides: dict[str, Any]
    data: EvaluationSet

    @property
    def files(self) -> EvaluationFiles:
        """Where its results are."""
        return EvaluationFiles(self.run)

    @property
    def identity(self) -> str:
        """The hash of what decides the result."""
        return sha256_json(self.decides)

    @property
    def task(self) -> Task:
        """What it learns from, and is asked."""
        return task_of(self.run, [item.input for item in self.data.items], self.data.labels)

    def why_made(self) -> str | None:
        """Return None when the result is there, else why it is made ("" when there is nothing yet)."""
        record = self.files.record
        if identity_of(record) == self.identity and not self.run.settings.force:
            there = identity_of(self.run.result(".scores.json")) == self.identity
            return None if there else "its label scores are not there"
        if not record.exists():
            return ""
        return "--force" if self.run.settings.force else changes(read_record(record).get("decides"), self.decides)


def look(run: Run, model: str | None, data: EvaluationSet) -> Baseline:
    """Return the run with what decides it; ``data`` is what all runs are asked.

    Raises:
        UserError: the training subset is missing.
        Unavailable: the base model is.
    """
    if not run.data_file.is_file():
        raise UserError(f"{run.title}: {run.data_file} is missing; make it with bin/build_data.sh")
    decides = {
        "data": sha256_file(run.data_file),
        "items": data.identity,
        "method": run.method,
        "method_version": VERSION,
        "model": _base_model(run) if run.method == "llm-embedding" else model,
        "seed": run.seed,
        "versions": versions(PACKAGES),
    }
    return Baseline(replace(run, model=model), decides, data)


def _base_model(run: Run) -> dict[str, str]:
    try:
        return model_identity(run.settings.model, run.settings.model_commit)
    except UserError as error:
        raise Unavailable(str(error)) from None


def model_of(method: str, settings: Settings, *, fetch: bool = True) -> str | None:
    """Return the name of the model that a method stands on, None where it has none.

    Raises:
        Unavailable: there is no encoder.
    """
    if method in encoders.METHODS:
        return encoders.find(settings, fetch=fetch)[1]
    return settings.model_name if method == "llm-embedding" else None


def make(method: str, todo: Sequence[Baseline], settings: Settings) -> None:
    """Make the runs, one after the other; what all share (the vectors of the texts) is computed once.

    Raises:
        Unavailable: the method cannot run here.
    """
    module = import_module(f"fewshot_sft.methods.{MODULES[method]}")
    begun = _clocks()
    try:
        answers = module.answer([each.task for each in todo], settings)
    except ImportError as error:
        raise Unavailable(f"a package is missing ({error}); install it with bin/setup.sh") from None
    shared = {f"shared_{key}": value for key, value in _spent(begun).items()}
    for each in todo:
        run = each.run
        with outcomes.of_run("evaluation", run.name) as ended, locks.hold(each.files.lock, run.title, 60):
            begun, started = _clocks(), now()
            found: Answers = next(answers)
            _write(each, found, {"started": started, **_spent(begun), **shared})
            ended("done")


def _clocks() -> tuple[float, float]:
    """Return the seconds of wall time, and of the CPU time of this process and its children."""
    return time.monotonic(), sum(os.times()[:4])


def _spent(begun: tuple[float, float]) -> dict[str, float]:
    seconds, cpu_seconds = (now - then for now, then in zip(_clocks(), begun, strict=True))
    return {"seconds": round(seconds, 3), "cpu_seconds": round(cpu_seconds, 3)}


def _write(each: Baseline, found: Answers, timings: dict[str, Any]) -> None:
    """Write answers, probabilities, pickle, and last the record."""
    run, files, data = each.run, each.files, each.data
    paths = [*files.results, files.predictions]
    set_aside([path for path in paths if path.exists()], identity_of(files.record), "made anew")
    truth = [item.output for item in data.items]
    log = PredictionLog(files.predictions, run.head(KIND) | {"identity": each.identity, "decides": each.decides})
    for index, (answer, label) in enumerate(zip(found.answers, truth, strict=True)):
        log.append(Prediction(index, answer, label, 0.0))
    log.close()
    label_probabilities.write(run, each.identity, data.labels, found.probabilities)
    about = {
        "device": "gpu" if os.environ.get("CUDA_VISIBLE_DEVICES") else "cpu",
        "chosen": found.facts,
        "scores": str(run.result(".scores.json")),
    }
    write(run, data, log, files, about, {}, {"decides": each.decides, "timings": timings, "identity": each.identity})
