"""The records of a sweep that never ran, as a report reads them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fewshot_sft.evaluation.evaluated import findings
from fewshot_sft.runs import LORA, WITHOUT_MODEL, ZERO_SHOT, Run
from fewshot_sft.settings import Settings


def _write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


def made_sweep(
    settings: Settings, labels: Sequence[str], methods: Sequence[str], *, texts: Sequence[str] = (), items: int = 120
) -> None:
    """Write evaluations, answers, data, manifest and training logs for the settings' SIZES and SEEDS.

    Args:
        settings: the sweep's; its folders are written to.
        labels: the items have them in turn.
        methods: the later ones are better; ``zero-shot`` and ``lora`` now and then answer outside the labels.
        texts: of the first items; the others have made ones.
        items: held-out texts.
    """
    truth = [labels[index % len(labels)] for index in range(items)]
    written = [*texts, *(f"an abstract about topic {index}" for index in range(len(texts), items))][:items]
    data = Path(settings["DATA_DIR"])
    _write(
        data / "llm_test.json",
        [{"instruction": "", "input": t, "output": o} for t, o in zip(written, truth, strict=True)],
    )
    runs = [
        Run(None if method in WITHOUT_MODEL else settings["MODEL_NAME"] or "base", method, size, seed, settings)
        for method in methods
        for size, seed in (
            [(None, None)]
            if method == ZERO_SHOT
            else [(size, seed) for size in settings.sizes for seed in settings.seeds]
        )
    ]
    for run in runs:
        _evaluation(run, labels, truth, 0.2 + 0.08 * methods.index(run.method))
        if run.method == LORA:
            _training(run)
    splits = {
        f"llm_train_{size}-seed{seed}": {
            "rows": size,
            "sha256": f"{size:064x}",
            "per_class": {label: size // len(labels) for label in labels},
            "size": size,
            "seed": seed,
        }
        for size in settings.sizes
        for seed in settings.seeds
    }
    removed = {"train": {"also_in_test": {"count": 2, "rows": [3, 4]}, "duplicate": {"count": 0, "rows": []}}}
    _write(data / "manifest.json", {"kind": "data", "splits": splits, "removed": removed, "warnings": []})


def _evaluation(run: Run, labels: Sequence[str], truth: Sequence[str], ease: float) -> None:
    rng = np.random.default_rng(run.seed or 0)
    right = ease + 0.25 * (np.log2(run.size / 16) / 8 if run.size else 0)
    others = rng.integers(len(labels), size=len(truth))
    answers = [
        label if lucky < right else labels[other]
        for label, lucky, other in zip(truth, rng.random(len(truth)), others, strict=True)
    ]
    if run.method in (ZERO_SHOT, LORA):
        answers[0] = "| I `cannot` say <b>that</b>"
    record = {
        "split": "test",
        **({"adapter": str(run.adapter), "base_model": "saves/base"} if run.method == LORA else {}),
        **findings(answers, truth, labels, 0, 42),
        "settings": {"data_sha256": "a" * 64},
        "versions": {"python": "3.12.1", "torch": "2.11.0"},
        "git_revision": "0" * 40,
        "timings": {"started": "2026-11-26T01:00:00+00:00", "seconds": 2.0 + (run.size or 0) / 50},
        "identity": "f" * 64,
    }
    _write(run.result(".json"), run.head("evaluation") | record)
    head, lines = json.dumps(run.head("predictions") | {"identity": "f" * 64}), []
    for index, (answer, label) in enumerate(zip(answers, truth, strict=True)):
        lines.append(json.dumps({"index": index, "pred": answer, "label": label, "seconds": 0.1}))
    run.result(".predictions.jsonl").write_text("\n".join([head, *lines, ""]), encoding="utf-8")


def _training(run: Run) -> None:
    entries = [{"current_steps": step, "loss": 0.3 + 2 / (1 + step / 20)} for step in range(5, 5 + (run.size or 0), 5)]
    done = {"status": "done", "examples": run.size, "seconds": 9}
    evaluated = {"eval_loss": [{"step": 5, "loss": 0.5}, {"step": 9, "loss": 0.6}], "best_step": 5}
    overfits = {"overfits": run.size == run.settings.sizes[0]}
    _write(run.adapter / "training.json", run.head("training") | done | evaluated | overfits)
    (run.adapter / "trainer_log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in entries))


def made_extras(settings: Settings, text: str, label: str) -> dict[str, Any]:
    """Write data_quality.json of such a sweep, with this text and label in it, and return its calibration."""
    folder = Path(settings["OBJS_DIR"]) / settings["SWEEP_NAME"]
    size, seed = settings.sizes[-1], settings.seeds[0]

    def calibrated(method: str, shift: float) -> dict[str, Any]:
        bins = [
            {
                "low": i / 10,
                "high": (i + 1) / 10,
                "items": 10,
                "confidence": i / 10 + 0.05,
                "accuracy": max(0, i / 10 - shift),
            }
            for i in range(2, 10)
        ]
        answered = [
            {
                "share": share / 10,
                "accuracy": 1 - share / 40 - shift,
                "low": 0.95 - share / 40 - shift,
                "high": min(1.0, 1.03 - share / 40 - shift),
                "at_least": 1 - share / 10,
            }
            for share in range(1, 11)
        ]
        run = Run(None, method, size, seed, settings)
        return run.fields | {
            "series": method,
            "items": 120,
            "ece": {"value": 0.04, "low": 0.02, "high": 0.09},
            "bins": bins,
            "answered": answered,
        }

    absent = [Run("base", LORA, size, seed, settings).fields | {"reason": "the server has no logprobs"}]
    runs = [calibrated("tfidf", 0.05), calibrated("embedding", 0.0)]
    first, second = ({"split": "train", "row": row, "text": text, "label": label} for row in (7, 9))
    measured = [{"data": "tiny", "wrong_labels": 0.03, "precision": 0.99, "precision_of_ten": 1.0}]
    suspicious = {
        "split": "train",
        "row": 3,
        "text": text,
        "given": label,
        "likely": "b",
        "p_given": 0.004,
        "p_likely": 0.97,
    }
    quality = {
        "schema": 2,
        "kind": "data quality",
        "name": settings["SWEEP_NAME"],
        "methods": ["embedding"],
        "checked": 2000,
        "suspicious": {"count": 31, "rows": [suspicious], "file": "suspicious_labels.csv", "measured": measured},
        "near_duplicates": {
            "count": 1,
            "pairs": [{"similarity": 0.98, "first": first, "second": second}],
            "file": "near_duplicates.csv",
        },
        "absent": {"label_next": "UNLABELLED_FILE is not set"},
    }
    _write(folder / "data_quality.json", quality)
    return {"schema": 2, "kind": "calibration", "runs": runs, "absent": absent}
