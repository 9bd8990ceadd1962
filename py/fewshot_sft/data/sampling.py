"""Which examples a subset of N holds: seeded, stratified, and nested, so that only the size differs between sizes."""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from .cleaning import Example

# Of the training rows: the usual share, and what a small source gives so that each class has a row.
HELD_OUT_PERCENT = {"valid": (10, 15), "test": (20, 30)}


def fitting(sizes: Sequence[int], rows: int) -> list[int]:
    """Return sizes for ``rows`` training rows, which the largest size exceeds.

    They are the sizes below ``rows``, or where that is fewer than two a quarter and a half of the rows, and all rows.
    """
    below = [size for size in sizes if size < rows]
    return sorted({*(below if len(below) > 1 else (rows // 4, rows // 2)), rows} - {0})


def stratified_order(examples: Sequence[Example], seed: int) -> list[Example]:
    """Return the examples in one seeded order of which every prefix is stratified (see :func:`class_sequence`).

    Within a class the order is that of a hash of seed and content: the same on every machine and Python, whatever
    the order of the rows in the source.
    """
    by_label: dict[str, list[Example]] = defaultdict(list)
    for example in shuffled(examples, f"{seed}"):
        by_label[example.label].append(example)
    groups = [iter(by_label[label]) for label in sorted(by_label)]
    return [next(groups[group]) for group in class_sequence([len(by_label[label]) for label in sorted(by_label)])]


def class_sequence(counts: Sequence[int]) -> list[int]:
    """Return an order of classes, class ``c`` occurring ``counts[c]`` times, of which every prefix is proportional.

    In a prefix of length n each class occurs floor(q) or ceil(q) times, q = n * counts[c] / sum(counts). That such an
    order exists is the theorem behind the quota method of apportionment (Balinski and Young, The American
    Mathematical Monthly 82, 1975), and Tijdeman's chairman assignment (Discrete Mathematics 32, 1980). The j-th
    occurrence of a class may come when q > j - 1 and must come while q <= j; taking whichever must come first (earliest
    deadline first) meets every deadline when that is possible at all. Within those bounds, each class occurs for the
    first time as early as can be, so that a small subset has all classes.

    Args:
        counts: occurrences of each class, all positive.
    """
    if not counts:
        return []
    total = sum(counts)
    everyone_by = _everyone_by(counts)
    taken = [0] * len(counts)
    waiting = [(1, group) for group in range(len(counts))]  # (first position allowed, class)
    due: list[tuple[int, int]] = []  # (last position allowed, class)
    sequence = []
    for position in range(1, total + 1):
        while waiting and waiting[0][0] <= position:
            _, group = heapq.heappop(waiting)
            deadline = -(-(taken[group] + 1) * total // counts[group])
            heapq.heappush(due, (min(deadline, everyone_by) if not taken[group] else deadline, group))
        _, group = heapq.heappop(due)
        sequence.append(group)
        taken[group] += 1
        if taken[group] < counts[group]:
            heapq.heappush(waiting, (taken[group] * total // counts[group] + 1, group))
    return sequence


def _everyone_by(counts: Sequence[int]) -> int:
    """Return the shortest prefix length from which on every class can be present within the bounds.

    A prefix of n can hold floor(q) of each class, and at least one, if these add up to n or less.
    """
    total = sum(counts)
    for size in range(-(-total // min(counts)), 0, -1):  # from here on floor(q) >= 1 for every class
        if sum(max(size * count // total, 1) for count in counts) > size:
            return size + 1
    return 1


def shuffled(examples: Iterable[Example], salt: str) -> list[Example]:
    """Return the examples in a random-looking order that ``salt`` and their contents alone decide."""
    return sorted(examples, key=lambda example: hashlib.sha256(f"{salt}/{example.sha256}".encode()).digest())


def subsets(
    pool: Sequence[Example], sizes: Iterable[int], seed: int, split_seed: int, sampling: str
) -> dict[int, list[Example]]:
    """Return the training subset of each size for one seed.

    Args:
        pool: the training examples as :func:`hold_out` returns them.
        sizes: none larger than the pool.
        seed: of the draw; the pool, which all seeds draw from, does not depend on it.
        split_seed: whose stratified order the pool has already.
        sampling: "nested" takes prefixes of a stratified order, so that each subset contains the smaller ones and has
            the pool's class proportions; "independent" draws each size by itself and without regard to classes.
    """
    if sampling == "nested":
        ordered = pool if seed == split_seed else stratified_order(pool, seed)
        return {size: list(ordered[:size]) for size in sizes}
    return {size: shuffled(pool, f"{seed}/{size}")[:size] for size in sizes}


def hold_out(
    clean: Sequence[Example], given: Mapping[str, Sequence[Example]], counts: Mapping[str, int | None], seed: int
) -> tuple[list[Example], dict[str, list[Example]]]:
    """Return the training pool in stratified order, and the rows of "valid" and "test" in their source's order.

    A split that is not ``given`` is taken from the end of the training rows' stratified order: every class keeps its
    share, a rare class stays in training, and holding out more or less leaves the small subsets as they are. Where no
    count is asked for, no class loses its last training row; a small source may then have no row for a split.
    """
    pool = stratified_order(clean, seed)
    evaluation: dict[str, list[Example]] = {}
    for split in ("test", "valid"):
        count = counts[split]
        if split in given:
            rows = given[split]
            picked = stratified_order(rows, seed)[:count] if count and count < len(rows) else rows
        else:
            pool, picked = _taken(pool, count, HELD_OUT_PERCENT[split], len(clean))
        evaluation[split] = sorted(picked, key=lambda example: example.row)
    return pool, evaluation


def _taken(
    pool: Sequence[Example], count: int | None, percent: tuple[int, int], total: int
) -> tuple[list[Example], list[Example]]:
    """Return the rest of the pool, and ``count`` rows from its end.

    Without a count it is the first percentage of ``total``, or up to the second when there are more classes than that;
    then no class loses its last training row. A class that is not among the last rows has its own last one taken in
    place of one of the most frequent class.
    """
    first: dict[str, int] = {}
    for index, row in enumerate(pool):
        first.setdefault(row.label, index)
    spare = [index for index, row in enumerate(pool) if first[row.label] != index]
    last = {pool[index].label: index for index in spare}
    share, most = (total * each // 100 for each in percent)
    wanted = count or max(share, min(len(last), most), 1)
    picked = spare[-wanted:]
    if count and count > len(picked):
        picked += sorted(first.values())[len(picked) - count :]
    held = Counter(pool[index].label for index in picked)
    for label, index in last.items():
        often = max(held, key=lambda each: held[each])
        if label not in held and held[often] > 1:
            picked.remove(next(each for each in picked if pool[each].label == often))
            picked.append(index)
            held[often] -= 1
            held[label] = 1
    chosen = set(picked)
    return [row for index, row in enumerate(pool) if index not in chosen], [pool[index] for index in sorted(chosen)]
