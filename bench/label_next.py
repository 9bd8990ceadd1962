"""What the texts to label next bring, compared with as many at random.

    python bench/label_next.py [FILE.csv...] [--labelled 100 300] [--repeats 10]

As many texts as are labelled are chosen from 2,000 others and labelled; then tfidf answers 600 test texts.
The data are those of bench/suspicious.py, with their wrong labels.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from suspicious import from_files, tiny

from fewshot_sft.methods import Task, tfidf
from fewshot_sft.quality import label_next
from fewshot_sft.settings import Settings


def accuracy(learned: list[tuple[str, str, str]], test: list[tuple[str, str, str]]) -> float:
    """Return the accuracy on right labels."""
    texts, labels = [row[0] for row in learned], [row[1] for row in learned]
    task = Task(texts, labels, [row[0] for row in test], sorted(set(labels)), 0)
    (found,) = tfidf.answer([task], Settings({}))
    return float(np.mean([answer == row[2] for answer, row in zip(found.answers, test, strict=True)]))


def main() -> None:
    """Print the mean accuracy of each way to choose, and the standard error of its difference from random."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--labelled", nargs="+", type=int, default=[100, 300])
    parser.add_argument("--repeats", type=int, default=10)
    args = parser.parse_args()
    for name, draw in ({"tiny": tiny} | ({"files": from_files(args.files, 2600)} if args.files else {})).items():
        for count in args.labelled:
            results: dict[str, list[float]] = {}
            for repeat in range(args.repeats):
                data = draw(repeat)
                rng = np.random.default_rng(repeat)
                shuffled = [data[index] for index in rng.permutation(len(data))]
                test, known, rest = shuffled[:600], shuffled[600 : 600 + count], shuffled[600 + count :]
                ranked = label_next.rank([row[0] for row in known], [row[1] for row in known], [row[0] for row in rest])
                chosen = {"none": [], "random": range(count), "chosen": [each.index for each in ranked[:count]]}
                for how, which in chosen.items():
                    results.setdefault(how, []).append(accuracy(known + [rest[each] for each in which], test))
            gain = np.array(results["chosen"]) - results["random"]
            means = ", ".join(f"{how} {np.mean(found):.3f}" for how, found in results.items())
            print(
                f"{name}, {count}: {means}; gain {gain.mean():+.3f} ± {gain.std() / len(gain) ** 0.5:.3f}", flush=True
            )


if __name__ == "__main__":
    main()
