"""A run is (model, method, size, seed). Names and paths are made here, and never read back from a name."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import dry_run
from .claims import TASK
from .errors import UserError
from .identity import read_record
from .settings import Settings, table

LORA, ZERO_SHOT, K_SHOT = "lora", "zero-shot", "k-shot"
# Methods without a server; those of the second row want a GPU where there is one, and are on request.
ON_CPU = ("tfidf", "embedding")
ON_GPU = ("llm-embedding", "encoder", "setfit")
WITHOUT_MODEL = (*ON_CPU, "encoder", "setfit")  # no language model
METHODS = (ZERO_SHOT, LORA, K_SHOT, *ON_CPU, *ON_GPU)
CLASSIFICATION, GENERATION = "classification", "generation"  # TASK
GENERATING = (ZERO_SHOT, LORA, K_SHOT)  # the methods that write free text
# Its metrics, each from 0 to 1, and what they are called; the first one leads.
FREE_METRICS = {"rouge_l": "ROUGE-L", "exact_match": "exact match", "bleu": "BLEU", "chrf": "chrF"}
NO_TEXT = "it gives labels, and TASK=generation asks for text"  # why the others do not
USUAL = (LORA, ZERO_SHOT, *ON_CPU)  # METHODS=auto
DEFAULT_SEED = 42  # its runs have the original's names, whatever SEEDS says
CHOSEN = "FEWSHOT_RUNS"  # of a job: the names of its runs, with spaces between
SCHEMA = 2  # of every record about a run; earlier versions knew only sizes


@dataclass(frozen=True)
class Run:
    """One method on one training subset; the base model as it is (``zero-shot``) has neither size nor seed."""

    model: str | None  # MODEL_NAME, or the encoder's; None for a method without a language model
    method: str
    size: int | None
    seed: int | None
    settings: Settings = field(repr=False, compare=False)

    @property
    def dataset(self) -> str:
        """The training subset's name in dataset_info.json: ``llm_train_100``, ``llm_train_100-seed1``."""
        return dataset_name(self.size, self.seed)

    @property
    def name(self) -> str:
        """The run's name, its files' beginning: ``tiny-llm_train_100``, ``tiny-tfidf_100``, ``tiny-zero-shot``."""
        if self.size is None:
            return f"{self.settings.sweep_name}-{self.method}"
        subset = self.dataset if self.method == LORA else self.dataset.replace("llm_train", self.method, 1)
        return f"{self.settings.sweep_name}-{subset}"

    @property
    def title(self) -> str:
        """What messages call it: ``size 100``, ``size 100, seed 1``, ``zero-shot``, ``tfidf, size 100``."""
        if self.size is None:
            return self.method
        method = "" if self.method == LORA else f"{self.method}, "
        return f"{method}size {self.size}" + (f", seed {self.seed}" if self.seed != DEFAULT_SEED else "")

    @property
    def caption(self) -> str:
        """What tables and pictures call it: ``N = 100``, ``N = 100, seed 1``, ``zero-shot``, ``tfidf, N = 100``."""
        return self.title.replace("size ", "N = ")

    @property
    def fields(self) -> dict[str, Any]:
        """The run as records tell it."""
        return {
            "run": self.name,
            "name": self.settings.sweep_name,
            "model": self.model,
            "method": self.method,
            "size": self.size,
            "seed": self.seed,
        }

    def head(self, kind: str) -> dict[str, Any]:
        """Return what a record about it begins with; what it does not have is absent."""
        known = {key: value for key, value in self.fields.items() if value is not None}
        return {"schema": SCHEMA, "kind": kind, **known}

    @property
    def data_file(self) -> Path:
        """The training subset."""
        return Path(self.settings["DATA_DIR"]) / f"{self.dataset}.json"

    @property
    def is_trained(self) -> bool:
        """Whether it has an adapter."""
        return self.method == LORA

    @property
    def served_as(self) -> str:
        """The name that a server knows it by: its own where it is trained, else the base model's."""
        return self.name if self.is_trained else zero_shot(self.settings).name

    @property
    def adapter(self) -> Path:
        """The adapter's folder, of a run that is trained."""
        assert self.is_trained
        return Path(self.settings["SAVES_DIR"]) / self.settings["MODEL_NAME"] / "lora" / self.name

    @property
    def stem(self) -> str:
        """The beginning of its result files in OBJS_DIR: the name, with the split where that is not ``test``."""
        split = self.settings.split
        return self.name if split == "test" else f"{self.name}.{split}"

    def result(self, suffix: str) -> Path:
        """Return the path of a result: ``run.result(".json")`` is the evaluation's record."""
        return Path(self.settings["OBJS_DIR"]) / f"{self.stem}{suffix}"

    def log(self, part: str) -> Path:
        """Return the path of a log: ``run.log("train")``."""
        return Path(self.settings["LOGS_DIR"]) / f"{self.name}.{part}.log"


def dataset_name(size: int | None, seed: int | None) -> str:
    """Return a training subset's name."""
    return f"llm_train_{size}" + (f"-seed{seed}" if seed != DEFAULT_SEED else "")


def sizes(settings: Settings) -> tuple[int, ...]:
    """Return SIZES, or what bin/build_data.sh took instead where the default ones do not fit the data."""
    if settings["SIZES"] == table()["SIZES"].default:
        if planned := dry_run.planned_sizes():
            return planned
        manifest = read_record(Path(settings["DATA_DIR"]) / "manifest.json")
        if manifest.get("sizes_fitted"):
            return tuple(manifest["sizes"])
    return settings.sizes


def methods(settings: Settings) -> tuple[str, ...]:
    """Return the methods of METHODS, in the order of :data:`METHODS`."""
    usual = (ZERO_SHOT, LORA) if settings.task == GENERATION else USUAL
    chosen = usual if settings["METHODS"] == "auto" else settings["METHODS"].split()
    return tuple(each for each in METHODS if each in chosen)


def _of(settings: Settings, method: str, model: str | None) -> list[Run]:
    if method not in methods(settings):
        return []
    return [Run(model, method, size, seed, settings) for seed in settings.seeds for size in sizes(settings)]


def trainings(settings: Settings) -> list[Run]:
    """Return the runs that are trained, seed by seed, each in the order of SIZES."""
    return _of(settings, LORA, settings.model_name)


def zero_shot(settings: Settings) -> Run:
    """Return the base model's run."""
    return Run(settings.model_name, ZERO_SHOT, None, None, settings)


def evaluations(settings: Settings) -> list[Run]:
    """Return the runs that a server answers for, the base model first."""
    first = [zero_shot(settings)] if ZERO_SHOT in methods(settings) else []
    return first + trainings(settings) + _of(settings, K_SHOT, settings.model_name)


def baselines(settings: Settings, method: str) -> list[Run]:
    """Return the runs of a method without a server."""
    return _of(settings, method, settings.model_name if method == "llm-embedding" else None)


def every(settings: Settings) -> list[Run]:
    """Return all runs of a sweep."""
    return evaluations(settings) + [run for each in (*ON_CPU, *ON_GPU) for run in baselines(settings, each)]


def chosen(some: Iterable[Run]) -> list[Run]:
    """Return those of the runs that this process is to work on: all, or in a job of the cluster its group's."""
    names = os.environ.get(CHOSEN)
    return [run for run in some if names is None or run.name in names.split()]


def server_log(settings: Settings) -> Path:
    """Return the log of the server of several runs; each job of the cluster has one of its own."""
    task = os.environ.get(TASK)
    return Path(settings["LOGS_DIR"]) / f"{settings.sweep_name}{f'.{task}' if task else ''}.server.log"


def named(settings: Settings, name: str) -> Run:
    """Return the run of that name.

    Raises:
        UserError: there is none in this sweep.
    """
    known = [zero_shot(settings), *every(settings)]
    for run in known:
        if run.name == name:
            return run
    raise UserError(f"no run {name} in this sweep; there are {', '.join(run.name for run in known)}")
