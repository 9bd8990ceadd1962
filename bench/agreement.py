"""Compare the answers that bench/agreement.sh has collected, adapter by adapter.

    python bench/agreement.py --folder FOLDER --name tiny --sizes 100 500

Reads FOLDER/<server>.<round>, prints for each size how many answers two askings have in common, of the same server and
of the two, and writes agreement.json. Where one was asked fewer items than another, only those are compared. Where
`BENCH_MARGINS=1 bench/server.sh` has left its measurements in the same folder, it also tells how close to another
answer those were that differ, and those that do not.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections import Counter
from pathlib import Path
from statistics import median

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT / "py"))

from fewshot_sft.errors import UserError  # noqa: E402 - after sys.path
from fewshot_sft.jsonio import write_json  # noqa: E402 - after sys.path
from fewshot_sft.program import run  # noqa: E402 - likewise

SHOWN = 5  # kinds of differences a size


def answers(folder: Path, run: str) -> list[str]:
    """Return the answers of one asking, in the order of the items."""
    lines = (folder / f"{run}.predictions.jsonl").read_text(encoding="utf-8").splitlines()[1:]
    found = {entry["index"]: entry["pred"] for entry in map(json.loads, lines)}
    return [found[index] for index in range(len(found))]


def margins(folder: Path, run: str) -> list[float | None] | None:
    """Return each item's distance to another answer, in nats, as bench/load.py measured it; None when it did not."""
    path = folder / f"margins.{run}.json"
    return json.loads(path.read_text(encoding="utf-8"))["margins"] if path.exists() else None


def compare(askings: dict[str, list[str]], distances: list[float | None] | None = None) -> dict[str, object]:
    """Return how many answers each two askings have in common, and what those differ in that are not all the same.

    An item whose answers vary within one server tells of batches that are composed otherwise, not of the servers.
    """
    pairs = []
    for one, other in itertools.combinations(askings, 2):
        same = sum(map(str.__eq__, askings[one], askings[other]))
        pairs.append({"one": one, "other": other, "same": same, "across": kind(one) != kind(other)})
    swaps: Counter[tuple[str, ...]] = Counter()
    steady, varying = 0, []
    for index, each in enumerate(zip(*askings.values(), strict=True)):
        if len(set(each)) == 1:
            continue
        varying.append(index)
        swaps[tuple(sorted(set(each)))] += 1
        by_server: dict[str, set[str]] = {}
        for asking, answer in zip(askings, each, strict=True):
            by_server.setdefault(kind(asking), set()).add(answer)
        steady += len(by_server) > 1 and all(len(said) == 1 for said in by_server.values())
    found: dict[str, object] = {
        "items": len(next(iter(askings.values()))),
        "pairs": pairs,
        "differ_by_server_only": steady,
        "swaps": [{"answers": list(texts), "items": count} for texts, count in swaps.most_common(SHOWN)],
    }
    if distances is not None:
        found["margins"] = closeness(distances, set(varying))
    return found


def closeness(distances: list[float | None], varying: set[int]) -> dict[str, object]:
    """Return the margins, in nats, of the items whose answers vary and of the others: how many, median, and how many of
    the others are as close to another answer as the farthest of those that vary.
    """
    theirs = [margin for index, margin in enumerate(distances) if index in varying and margin is not None]
    others = [margin for index, margin in enumerate(distances) if index not in varying and margin is not None]
    found: dict[str, object] = {"varying": len(theirs), "others": len(others)}
    if theirs:
        found |= {"varying_median": median(theirs), "varying_largest": max(theirs)}
        found["others_within_largest"] = sum(margin <= max(theirs) for margin in others)
    return found | ({"others_median": median(others)} if others else {})


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
        close = one.get("margins", {})
        if close.get("varying") and close["others"]:
            print(
                f"  margin to the next best token, nats: those that vary {close['varying_median']:.3f} in the middle, "
                f"{close['varying_largest']:.3f} at most; the others {close['others_median']:.3f} in the middle, "
                f"{close['others_within_largest']} of {close['others']} within that most"
            )


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
        if len(complete) > 1:
            distances = margins(args.folder, name)
            asked = min(map(len, complete.values()))
            complete = {asking: texts[:asked] for asking, texts in complete.items()}
            if distances is not None and len(distances) < asked:
                raise UserError(
                    f"size {size}: margins of {len(distances)} items only, not {asked}; take another BENCH_DIR"
                )
            found[size] = compare(complete, distances[:asked] if distances is not None else None)
    if not found:
        raise UserError(f"{args.folder}: no size has been asked twice")
    show(found)
    write_json(args.folder / "agreement.json", {"schema": 1, "kind": "agreement", "sizes": found})
    return 0


if __name__ == "__main__":
    run(main)
