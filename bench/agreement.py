"""Compare the answers that bench/agreement.sh has collected, adapter by adapter.

    python bench/agreement.py --folder FOLDER --name tiny --sizes 100 500

Reads FOLDER/<server>.<round>, prints for each size how many answers two askings have in common, of the same server and
of the two, and writes agreement.json.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections import Counter
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT / "py"))

from fewshot_sft.errors import UserError, run  # noqa: E402
from fewshot_sft.jsonio import write_json  # noqa: E402

SHOWN = 5  # kinds of differences a size


def answers(folder: Path, run: str) -> list[str]:
    """Return the answers of one asking, in the order of the items."""
    lines = (folder / f"{run}.predictions.jsonl").read_text(encoding="utf-8").splitlines()[1:]
    found = {entry["index"]: entry["pred"] for entry in map(json.loads, lines)}
    return [found[index] for index in range(len(found))]


def compare(askings: dict[str, list[str]]) -> dict[str, object]:
    """Return how many answers each two askings have in common, and what those differ in that are not all the same.

    An item whose answers vary within one server tells of batches that are composed otherwise, not of the servers.
    """
    pairs = []
    for one, other in itertools.combinations(askings, 2):
        same = sum(map(str.__eq__, askings[one], askings[other]))
        pairs.append({"one": one, "other": other, "same": same, "across": kind(one) != kind(other)})
    swaps: Counter[tuple[str, ...]] = Counter()
    steady = 0
    for each in zip(*askings.values(), strict=True):
        if len(set(each)) == 1:
            continue
        swaps[tuple(sorted(set(each)))] += 1
        by_server: dict[str, set[str]] = {}
        for asking, answer in zip(askings, each, strict=True):
            by_server.setdefault(kind(asking), set()).add(answer)
        steady += len(by_server) > 1 and all(len(said) == 1 for said in by_server.values())
    return {
        "items": len(next(iter(askings.values()))),
        "pairs": pairs,
        "differ_by_server_only": steady,
        "swaps": [{"answers": list(texts), "items": count} for texts, count in swaps.most_common(SHOWN)],
    }


def kind(asking: str) -> str:
    """Return the server of an asking: ``vllm`` of ``vllm.1``."""
    return asking.rpartition(".")[0]


def show(found: dict[int, dict]) -> None:
    """Print the table."""
    for size, one in found.items():
        print(f"size {size}, {one['items']} items:")
        for pair in one["pairs"]:
            print(f"  {pair['one']:16} {pair['other']:16} {pair['same']:6} equal  {pair['same'] / one['items']:.1%}")
        print(f"  {one['differ_by_server_only']} differ between the servers and not within one")
        for swap in one["swaps"]:
            print(f"  {swap['items']:4} times {' / '.join(map(repr, swap['answers']))}")


def main(argv: list[str]) -> int:
    """Compare all askings of each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--sizes", type=int, nargs="+", required=True)
    args = parser.parse_args(argv)
    found = {}
    for size in args.sizes:
        name = f"{args.name}-llm_train_{size}"
        folders = [folder for folder in sorted(args.folder.glob("*.[0-9]*")) if (folder / f"{name}.json").exists()]
        complete = {folder.name: answers(folder, name) for folder in folders}
        if len({len(texts) for texts in complete.values()}) > 1:
            counts = ", ".join(f"{asking}: {len(texts)}" for asking, texts in complete.items())
            raise UserError(f"size {size}: not as many items in each ({counts}); take another BENCH_DIR")
        if len(complete) > 1:
            found[size] = compare(complete)
    if not found:
        raise UserError(f"{args.folder}: no size has been asked twice")
    show(found)
    write_json(args.folder / "agreement.json", {"schema": 1, "kind": "agreement", "sizes": found})
    return 0


if __name__ == "__main__":
    run(main)
