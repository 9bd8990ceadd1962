"""How many of the labels that look suspicious are wrong, on data whose wrong labels are known.

    python bench/suspicious.py [FILE.csv...] [--rows 2600] [--seeds 0 1 2 3 4] [--embedding]

The data are those of the profile tiny, where 3 % of the labels are drawn at random, and the CSV files (columns text and
label), joined: of them --rows are drawn, and 3 % get another label at random. With --embedding the probabilities of the
sentence encoder, and the mean of both, are tried as well, which takes minutes.
"""

from __future__ import annotations

import argparse
import csv
import random
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "py"))

from fewshot_sft.data import tiny_corpus
from fewshot_sft.quality import suspicious

WRONG = 0.03
SPLITS = {"train": 2000, "valid": 300, "test": 300}
Data = list[tuple[str, str, str]]  # text, label, right label


def tiny(seed: int) -> Data:
    """Return what the profile has with SPLIT_SEED=seed."""
    return [row for split, count in SPLITS.items() for row in tiny_corpus.with_truth(split, count, seed)]


def from_files(paths: list[Path], rows: int) -> Callable[[int], Data]:
    """Return a function of the seed that draws rows of the files and makes some labels wrong."""
    found = [(row["text"], row["label"]) for path in paths for row in csv.DictReader(path.open(encoding="utf-8-sig"))]
    labels = sorted({label for _, label in found})

    def draw(seed: int) -> Data:
        rng = random.Random(seed)
        drawn = rng.sample(found, min(rows, len(found)))
        return [
            (text, rng.choice([each for each in labels if each != label]) if rng.random() < WRONG else label, label)
            for text, label in drawn
        ]

    return draw


def by_embedding(texts: list[str], given: np.ndarray, seed: int) -> np.ndarray:
    """Return what suspicious.out_of_sample does, by the method embedding."""
    from sklearn.model_selection import StratifiedKFold

    from fewshot_sft.methods import Task, embedding
    from fewshot_sft.settings import Settings

    names = [f"{number:03}" for number in range(given.max() + 1)]
    folds = list(StratifiedKFold(suspicious.FOLDS, shuffle=True, random_state=seed).split(texts, given))
    tasks = [
        Task([texts[i] for i in learn], [names[given[i]] for i in learn], [texts[i] for i in asked], names, seed)
        for learn, asked in folds
    ]
    found = np.zeros((len(texts), len(names)))
    for (_, asked), answers in zip(folds, embedding.answer(tasks, Settings({})), strict=True):
        found[asked] = answers.probabilities
    return found


def measure(data: Data, probabilities: np.ndarray, given: np.ndarray) -> dict[str, float]:
    """Return how many are found, and how many of these and of the first ten are wrong."""
    wrong = np.array([label != truth for _, label, truth in data])
    likely = probabilities.argmax(1)
    found = [each for each in suspicious.issues(given, probabilities) if likely[each] != given[each]]
    return {
        "wrong": int(wrong.sum()),
        "found": len(found),
        "precision_of_ten": float(wrong[found[:10]].mean()) if found else 0.0,
        "precision": float(wrong[found].mean()) if found else 0.0,
        "recall": float(wrong[found].sum() / wrong.sum()),
    }


def main() -> None:
    """Print a row for each data set, method and seed, and the means with their standard deviations."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--rows", type=int, default=2600)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--embedding", action="store_true")
    args = parser.parse_args()
    sources = {"tiny": tiny} | ({"files": from_files(args.files, args.rows)} if args.files else {})
    results: dict[tuple[str, str], list[dict[str, float]]] = {}
    print(f"{'data':<6} {'method':<10} {'seed':>4} {'wrong':>6} {'found':>6} {'of 10':>6} {'prec.':>6} {'recall':>6}")
    for name, draw in sources.items():
        for seed in args.seeds:
            data = draw(seed)
            texts = [text for text, _, _ in data]
            given = np.unique([label for _, label, _ in data], return_inverse=True)[1]
            tried = {"tfidf": suspicious.out_of_sample(texts, given, 0)}
            if args.embedding:
                tried["embedding"] = by_embedding(texts, given, 0)
                tried["mean"] = (tried["tfidf"] + tried["embedding"]) / 2
            for method, probabilities in tried.items():
                row = measure(data, probabilities, given)
                results.setdefault((name, method), []).append(row)
                shown = f"{row['wrong']:>6} {row['found']:>6} {row['precision_of_ten']:>6.2f} {row['precision']:>6.2f}"
                print(f"{name:<6} {method:<10} {seed:>4} {shown} {row['recall']:>6.2f}", flush=True)
    for (name, method), rows in results.items():
        means = (
            f"{key} {np.mean([row[key] for row in rows]):.3f} ± {np.std([row[key] for row in rows]):.3f}"
            for key in ("precision_of_ten", "precision", "recall")
        )
        print(f"{name}, {method}: {', '.join(means)}")


if __name__ == "__main__":
    main()
