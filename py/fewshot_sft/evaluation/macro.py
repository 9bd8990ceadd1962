"""Accuracy and macro precision, recall and F1 through the ``evaluate`` package, without network."""

from __future__ import annotations

import contextlib
import functools
import sys
import tempfile
import threading
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from ..provenance import PROJECT

# Not `evaluate.load("f1")`: that fetches code from a hub. This computes with scikit-learn as the hub's own do.
MODULE = PROJECT / "py/metrics"
_LOADING = threading.Lock()


def compute(predictions: Sequence[int], references: Sequence[int], classes: Sequence[int] | None = None) -> dict:
    """Return ``{"accuracy", "precision", "recall", "f1"}``, each from 0 to 1.

    Precision, recall and F1 are unweighted means over ``classes`` (default, and the original's way: over the classes
    that occur in either list). A class never predicted has precision 0, one without references recall 0.
    """
    with _LOADING:
        module = _load()
    return module.compute(predictions=predictions, references=references, labels=classes)


def prepare() -> None:
    """Load what :func:`compute` needs, 2 s of imports; for a thread, while the process waits for something else."""
    with contextlib.suppress(Exception), _LOADING:  # compute() will say it
        _load()


@functools.cache
def _load() -> Any:
    """Load the module, once a process.

    ``evaluate`` copies a local module into a cache below HOME and imports the copy. A folder of our own, gone
    again after the import, needs no writable HOME and is never shared with another process.
    """
    evaluate = _import_evaluate()
    usual = evaluate.config.HF_MODULES_CACHE
    with tempfile.TemporaryDirectory(prefix="fewshot-metrics-") as folder:
        evaluate.config.HF_MODULES_CACHE = folder
        try:
            return evaluate.load(str(MODULE), cache_dir=folder, keep_in_memory=True)
        finally:
            evaluate.config.HF_MODULES_CACHE = usual
            sys.path[:] = [entry for entry in sys.path if entry != folder]


def _import_evaluate() -> ModuleType:
    """Import ``evaluate`` in 2 s instead of 9 s.

    The rest is transformers' pipelines, for evaluators that are not used here; ``evaluate`` does without them
    where transformers is missing, so it is told so during the import.
    """
    hidden = "transformers" not in sys.modules
    if hidden:
        sys.modules["transformers"] = None  # type: ignore[assignment] # as the import system marks what is missing
    try:
        import evaluate
    finally:
        if hidden:
            del sys.modules["transformers"]
    return evaluate
