"""Compare the rounds that bench/evaluation.sh left in a folder: python bench/ratio.py FOLDER RUN"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import median

from agreement import answers


def main(folder: Path, run: str) -> None:
    """Print items per second of both ways, their ratio, and how many answers are the same."""
    seed, ours, same, items = [], [], 0, 0
    for theirs in sorted(folder.glob("seed.*.json")):
        loop = json.loads(theirs.read_text())
        results = folder / theirs.name.replace("seed.", "ours.").removesuffix(".json")
        record = json.loads((results / f"{run}.json").read_text())
        given = answers(results, run)
        seed.append(loop["items"] / loop["seconds"])
        ours.append(record["timings"]["items_per_second"])
        same += sum(given[index] == pred for index, pred in enumerate(loop["preds"]))
        items += loop["items"]
    print(f"original's loop: {', '.join(f'{rate:.1f}' for rate in seed)} items/s")
    print(f"our evaluation: {', '.join(f'{rate:.1f}' for rate in ours)} items/s")
    print(f"ratio: {median(ours) / median(seed):.2f}; same answers: {same} of {items}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
