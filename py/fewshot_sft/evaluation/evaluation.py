"""One run's evaluation: what decides it, whether it is there, and how it is made through a server that runs."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..identity import changes, named, read_record
from ..jsonio import sha256_json
from ..outcomes.outcomes import note_reason
from ..program import AGAIN, DONE
from ..provenance import now
from ..replaced import set_aside
from ..runs import K_SHOT, SCHEMA, Run
from ..serving import label_tokens
from ..serving.served_model import what_serves
from ..serving.server import Server
from ..serving.weights import adapter_identity
from . import evaluated, first_answers, label_probabilities, predictions, questions, shots
from .asking import ask_missing
from .files import EvaluationFiles, identity_of
from .predictions import PredictionLog

# Raised when the same predictions would be scored differently: records of before are then made anew.
SCORING = 2
EARLIER = "it is of an earlier version"


@dataclass(frozen=True)
class Asking:
    """The answers of one asking: all items, free or with CONSTRAIN=1 as one of the ``choices`` only."""

    title: str
    path: Path
    decides: dict[str, Any]  # with any of it changed, earlier predictions do not count
    items: int
    choices: list[str] | None = None

    @property
    def identity(self) -> str:
        """The hash of what decides them."""
        return sha256_json(self.decides)

    def why_asked(self) -> str | None:
        """Return None when the file is whole and of these questions, else why they are asked ("": there is none)."""
        stored = predictions.read(self.path)
        if not stored.is_of(self.identity):
            if not self.path.exists():
                return ""
            header = stored.header or {}
            return EARLIER if header.get("schema", SCHEMA) != SCHEMA else changes(header.get("decides"), self.decides)
        if stored.damaged or len(stored.predictions) < self.items:
            return f"{len(stored.predictions)} of {self.items} items have an answer"
        return None

    def open(self, run: Run) -> PredictionLog:
        """Open the file; one of other questions is set aside before."""
        stored = predictions.read(self.path)
        if not stored.is_of(self.identity):
            before = stored.header or {}
            why = EARLIER if before.get("schema", SCHEMA) != SCHEMA else self._why_anew(before.get("decides"))
            set_aside([self.path], before.get("identity"), why)
        log = PredictionLog(
            self.path, run.head(predictions.KIND) | {"identity": self.identity, "decides": self.decides}
        )
        if log.damaged:
            print(f"{self.title}: dropped {log.damaged} damaged line(s) of {self.path}", file=sys.stderr)
        return log

    def _why_anew(self, before: object) -> str:
        if not isinstance(before, dict):
            return "not readable, made anew"
        other = ", ".join(
            named(key, before.get(key), new).removeprefix("the ")
            for key, new in self.decides.items()
            if before.get(key) != new
        )
        return f"made anew, for it is of another {other}"


class Evaluation:
    """One run's evaluation."""

    def __init__(self, run: Run) -> None:
        """Look at the data, the model and the adapter.

        Raises:
            UserError: one of them is missing or damaged.
        """
        settings = run.settings
        self.run = run
        self.files = EvaluationFiles(run)
        self.data = questions.load(Path(settings["DATA_DIR"]), settings["SPLIT"], settings.eval_limit)
        decides = {
            "items": self.data.identity,
            "adapter": adapter_identity(run.adapter) if run.is_trained else None,
            **what_serves(settings),
            "max_tokens": settings.max_tokens,
            "temperature": 0,
        }
        self.examples = shots.choose(run, self.data.items) if run.method == K_SHOT else ()
        if self.examples:
            decides["examples"] = sha256_json(self.examples)
        count = len(self.data.items)
        self._free = Asking(run.title, self.files.predictions, decides, count)
        self._constrained = Asking(
            f"{run.title}, constrained",
            self.files.constrained,
            decides | {"choice": self.data.labels},
            count,
            self.data.labels,
        )

    def why_made(self) -> str | None:
        """Return None when this evaluation is there, whole, else why it is made ("" when there is nothing yet)."""
        why = self._why_free()
        if why is not None or not self.run.settings.constrain:
            return why
        why = self._constrained.why_asked()
        if why is None:
            found = read_record(self.files.record).get("constrained")
            if isinstance(found, dict) and found.get("identity") == self._identity(self._constrained):
                return None
            why = "all items have an answer, to be scored"
        return f"constrained: {why}" if why else "constrained answers"

    def make(self, server: Server, **how: Any) -> int:
        """Ask what has no answer yet, then score and write the results; the caller holds the lock.

        ``how`` goes to :func:`asking.ask_missing`. Returns DONE, or AGAIN when there are items left without an answer,
        after saying so.

        Raises:
            UserError: the server refuses for good.
        """
        if self._why_free() is not None:
            if self.files.record.exists():  # beside an evaluation under way it would pass for its result
                # The record last: when this is killed in between, the next one finds it and moves it too.
                schema = read_record(self.files.record).get("schema", SCHEMA)
                why = "to be made anew" if schema == SCHEMA else EARLIER
                set_aside([*self.files.results], identity_of(self.files.record), why)
            found = self._answer(self._free, server, how)
            if found is None:
                return AGAIN
            rest = self._rest(self._free, found[1]) | self._write_scores(found[0])
            evaluated.write_served(self.run, self.data, found[0], self.files, rest)
        if self.run.settings.constrain:
            found = self._answer(self._constrained, server, how)
            if found is None:
                return AGAIN
            rest = self._rest(self._constrained, found[1])
            evaluated.add_constrained(self.run, self.data, found[0], self.files, rest)
        return DONE

    def _why_free(self) -> str | None:
        why = self._free.why_asked()
        made = self.files.pickle if self.data.labels else self.files.items
        whole = made.exists() and identity_of(self.files.record) == self._identity(self._free)
        return "all items have an answer, to be scored" if why is None and not whole else why

    def _identity(self, answers: Asking) -> str:
        """Return what the record's figures depend on: the answers, and how they are scored."""
        seed = self.run.settings.split_seed
        decides = {"predictions": answers.identity, "labels": self.data.labels, "seed": seed, "scoring": SCORING}
        return sha256_json(decides)

    def _rest(self, answers: Asking, timings: dict[str, Any]) -> dict[str, Any]:
        shown = {"examples_in_prompt": len(self.examples)} if self.examples else {}
        return {**shown, "timings": timings, "identity": self._identity(answers)}

    def _write_scores(self, log: PredictionLog) -> dict[str, Any]:
        """Write the labels' probabilities, or why there are none; only `vllm serve` tells them with the answers."""
        if self.run.settings["SERVER"] != "vllm" or not self.data.labels:
            return {}
        masses = [log.predictions[index].scores for index in range(len(self.data.items))]
        try:
            label_tokens.read(self.run.settings, self.data.labels)
        except UserError as error:
            label_probabilities.write_absent(self.run, self._identity(self._free), str(error))
        else:
            label_probabilities.write_masses(self.run, self._identity(self._free), self.data.labels, masses)
        return {"scores": str(self.run.result(".scores.json"))}

    def _tokens(self) -> tuple[tuple[tuple[int, ...], ...], tuple[int, ...]]:
        if self.run.settings["SERVER"] == "vllm" and self.data.labels:
            with contextlib.suppress(UserError):
                return label_tokens.read(self.run.settings, self.data.labels)
        return (), ()

    def _answer(
        self, answers: Asking, server: Server, how: dict[str, Any]
    ) -> tuple[PredictionLog, dict[str, Any]] | None:
        """Ask what has no answer in a predictions file yet.

        Returns the file and how long it took; None when there are items left without an answer, after saying so.
        """
        log = answers.open(self.run)
        started, resumed, items = now(), len(log.predictions), len(self.data.items)
        told = answers is not self._free or not self.run.is_trained

        def kept() -> None:
            nonlocal told
            told = told or first_answers.of_evaluation(self.run, self.data.items, log)

        kept()
        try:
            measured, trouble = ask_missing(
                self.run,
                server,
                self.data.items,
                log,
                answers.title,
                choices=answers.choices,
                examples=self.examples,
                tokens=self._tokens() if answers.choices is None else ((), ()),
                kept=kept,
                **how,
            )
        finally:
            log.close()
        done = len(log.predictions)
        if trouble:
            note_reason(f"incomplete, {done} of {items} items answered; {trouble}")
            print(
                f"{answers.title}: evaluation incomplete: {done} of {items} items answered, {items - done} not; "
                f"{trouble}. The answers are kept in {answers.path}; run the same command again to go on",
                file=sys.stderr,
            )
            return None
        return log, {
            "started": started, "finished": now(), "answered": done - resumed, "resumed": resumed, **measured
        }  # fmt: skip


def set_results_aside(run: Run) -> None:
    """Move the results of an evaluation that is to be made anew (FORCE=1) out of the way; the caller holds the lock."""
    files = EvaluationFiles(run)
    set_aside([*files.results], identity_of(files.record), "to be made anew")
    for path in (files.predictions, files.constrained):
        set_aside([path], (predictions.read(path).header or {}).get("identity"), "made anew (--force)")


def has_results(run: Run) -> bool:
    """Return whether there is anything that FORCE=1 would set aside."""
    files = EvaluationFiles(run)
    return any(path.exists() for path in (*files.results, files.predictions, files.constrained))
