"""Which runs share a task of the cluster."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ..runs import K_SHOT, LORA, ON_CPU, ON_GPU, Run

WITH_MODEL, WITHOUT = "models", "methods"  # the arrays: with a GPU where DEVICE is one, without


class ArrayTask(NamedTuple):
    """One task of an array: scripts of bin/ with their flags, and the runs they are restricted to."""

    part: str
    scripts: tuple[str, ...]
    runs: tuple[Run, ...]


def group(missing: Sequence[Run], device: str) -> list[ArrayTask]:
    """Return the tasks that make the missing runs.

    What a server answers for is packed so that no task trains on more examples than the largest size has: small sizes
    share the start of a server, and none ends later than the largest would alone. Of the methods without a server,
    those of ON_CPU have a task each, for they compute once what all runs share; the others one a seed.
    """
    tasks = [
        ArrayTask(WITH_MODEL, ("train", "eval") if any(run.is_trained for run in each) else ("eval",), tuple(each))
        for each in packed(run for run in missing if run.method not in (*ON_CPU, *ON_GPU))
    ]
    for method in ON_CPU:
        if found := tuple(run for run in missing if run.method == method):
            tasks.append(ArrayTask(WITHOUT, ("baselines",), found))
    part, script = (WITH_MODEL, "baselines --on-gpu") if device == "gpu" else (WITHOUT, "baselines")
    for method in ON_GPU:
        of_method = [run for run in missing if run.method == method]
        for seed in dict.fromkeys(run.seed for run in of_method):
            tasks.append(ArrayTask(part, (script,), tuple(run for run in of_method if run.seed == seed)))
    return tasks


def packed(some: Iterable[Run]) -> list[list[Run]]:
    """Return the runs in groups of at most as many examples as the largest run has (first fit, the largest first).

    A k-shot run goes with the adapter of the same examples, the base model's with the first group.
    """
    units: dict[tuple[int, int | None], list[Run]] = {}
    base = []
    for run in some:
        if run.size is None:
            base.append(run)
        elif run.method in (LORA, K_SHOT):
            units.setdefault((run.size, run.seed), []).append(run)
    groups: list[tuple[int, list[Run]]] = []
    room = max((size for size, _ in units), default=0)
    for (size, _), unit in sorted(units.items(), key=lambda each: -each[0][0]):
        at = next((at for at, (used, _) in enumerate(groups) if used + size <= room), None)
        if at is None:
            groups.append((size, list(unit)))
        else:
            groups[at] = (groups[at][0] + size, groups[at][1] + unit)
    found = [each for _, each in groups] or [[]] * bool(base)
    return [base + found[0], *found[1:]] if found else []
