"""Which near-duplicates are found at which threshold, and how many pairs the data have; and how long 20,000 rows take.

    python bench/duplicates.py [FILE.csv...] [--show 0.75]

Texts of the files (columns text and label), else of the profile tiny, are edited: another word, a word less, the last
fifth cut off, three other words, three typing errors. --show prints the pairs around a threshold, to be judged.
"""

from __future__ import annotations

import argparse
import csv
import random
import resource
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "py"))

from fewshot_sft.data import tiny_corpus
from fewshot_sft.quality import Labelled, duplicates

THRESHOLDS = (0.6, 0.7, 0.8, 0.9)


def edited(text: str, how: str, rng: random.Random) -> str:
    """Return a text with one kind of edit."""
    words, letters = text.split(), list(text)
    at = rng.randrange(len(words))
    if how == "a word other":
        words[at] = "really"
    elif how == "a word less":
        del words[at]
    elif how == "a fifth cut":
        words = words[: max(1, len(words) * 4 // 5)]
    elif how == "three words":
        for each in rng.sample(range(len(words)), min(3, len(words))):
            words[each] = "really"
    else:
        for each in rng.sample(range(len(letters)), min(3, len(letters))):
            letters[each] = "x"
        return "".join(letters)
    return " ".join(words)


def main() -> None:
    """Print shares, counts and seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--show", type=float)
    args = parser.parse_args()
    texts = [row["text"] for path in args.files for row in csv.DictReader(path.open(encoding="utf-8-sig"))]
    texts = texts or [text for text, _ in tiny_corpus.labelled("train", 2600, 42)]
    rows = [Labelled("train", row, text, "A") for row, text in enumerate(texts, start=1)]
    pairs = duplicates.find(rows, min(THRESHOLDS))
    print("pairs in the data:", {each: sum(pair.similarity >= each for pair in pairs) for each in THRESHOLDS})
    rng = random.Random(0)
    for how in ("a word other", "a word less", "a fifth cut", "three words", "typing errors"):
        chosen = rng.sample(range(len(rows)), 300)
        copies = [Labelled("test", each, edited(texts[each], how, rng), "A") for each in chosen]
        found = {
            (pair.first.row, pair.second.row): pair.similarity
            for pair in duplicates.find([*rows, *copies], min(THRESHOLDS))
            if pair.second.split == "test"
        }
        best = [found.get((each + 1, each), 0.0) for each in chosen]
        print(f"{how}: found", {each: sum(one >= each for one in best) / len(best) for each in THRESHOLDS})
    if args.show:
        near = [pair for pair in pairs if abs(pair.similarity - args.show) < 0.05]
        for pair in rng.sample(near, min(20, len(near))):
            print(f"{pair.similarity:.2f}\n  {pair.first.text[:200]}\n  {pair.second.text[:200]}")
    many = []
    for number in range(20_000):
        words = f"{rng.choice(texts)} {rng.choice(texts)}".split()
        rng.shuffle(words)
        many.append(" ".join(words[:40]) + f" {number}")
    begun = time.monotonic()
    duplicates.find([Labelled("train", row, text, "A") for row, text in enumerate(many)])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"20,000 rows of {sum(map(len, many)) // len(many)} characters: {time.monotonic() - begun:.1f} s, {peak:.1f} GB"
    )


if __name__ == "__main__":
    main()
