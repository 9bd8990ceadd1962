"""Scores of free text (TASK=generation): ROUGE-L, exact match, BLEU and chrF, each from 0 to 1.

ROUGE-L (rouge-score's F1) and exact match are means over the items. BLEU and chrF (sacrebleu) are of the whole set:
their counts are added up over the items. Chinese is cut into words with jieba for ROUGE-L and BLEU, Japanese and other
text without spaces too; chrF goes by characters and needs none.
"""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..runs import FREE_METRICS
from ..text import comparable

METRICS = tuple(FREE_METRICS)
UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+")
WORD = re.compile(r"\w+")
# Items x values: of ROUGE-L and exact match their score, of BLEU and chrF the counts that sacrebleu adds up.
Items = dict[str, np.ndarray]


def items(answers: Sequence[str], targets: Sequence[str]) -> Items:
    """Return what each item contributes to each metric."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], tokenizer=_Words())
    pairs = list(zip(answers, targets, strict=True))
    cut, wanted = ([spaced(text) for text in texts] for texts in (answers, targets))
    counted = {
        "rouge_l": [[scorer.score(target, answer)["rougeL"].fmeasure] for answer, target in pairs],
        "exact_match": [[float(comparable(answer) == comparable(target))] for answer, target in pairs],
        "bleu": _metric("bleu")._extract_corpus_statistics(cut, [wanted]),
        "chrf": _metric("chrf")._extract_corpus_statistics(list(answers), [list(targets)]),
    }
    return {name: np.array(counted[name], float) for name in METRICS}


def score(metric: str, found: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Return a metric of a set of items, (draws,), or () without weights.

    Args:
        metric: of METRICS.
        found: (items, values), of :func:`items`.
        weights: (draws, items), how often each item was drawn.
    """
    rows = np.ones((1, len(found))) if weights is None else weights
    totals = rows @ found
    if metric in ("bleu", "chrf"):
        made = _metric(metric)
        scores = np.array([made._compute_score_from_stats([round(n) for n in row]).score / 100 for row in totals])
    else:
        scores = totals[:, 0] / rows.sum(1)
    scores = np.clip(scores, 0, 1)  # 1.0000000000000002
    return scores[0] if weights is None else scores


def metrics(found: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Return all metrics."""
    return {name: float(score(name, found[name])) for name in METRICS}


def signatures() -> dict[str, str]:
    """Return how sacrebleu says that it has counted."""
    return {name: str(_metric(name).get_signature()) for name in ("bleu", "chrf")}


def spaced(text: str) -> str:
    """Return the text with blanks between the words of scripts that are written without."""
    return UNSPACED.sub(lambda found: f" {' '.join(_jieba().cut(found[0]))} ", text)


class _Words:
    """rouge-score's tokenizer keeps the letters a to z alone; this one keeps any script's."""

    def tokenize(self, text: str) -> list[str]:
        return WORD.findall(spaced(text).lower())


@functools.cache
def _metric(name: str) -> Any:
    from sacrebleu.metrics import BLEU, CHRF

    return BLEU() if name == "bleu" else CHRF()


@functools.cache
def _jieba() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it imports pkg_resources
        import jieba
    jieba.setLogLevel("ERROR")
    return jieba
