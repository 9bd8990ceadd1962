"""How many optimizer steps a training has, as transformers counts them, and what follows from it."""

from __future__ import annotations

import math
from collections.abc import Mapping


def count(size: int, settings: Mapping[str, str]) -> int | None:
    """Return the steps of a training on ``size`` examples; None where the trainer's settings do not tell."""
    try:
        if (most := int(settings.get("max_steps", -1))) > 0:
            return most
        batch = int(settings["per_device_train_batch_size"]) * int(settings["gradient_accumulation_steps"])
        return math.ceil(float(settings["num_train_epochs"]) * math.ceil(size / batch))
    except (KeyError, ValueError, ZeroDivisionError, OverflowError):
        return None


def logs_nothing(size: int, settings: Mapping[str, str]) -> bool:
    """Return whether a training ends before the first entry of its log: one without a loss counts as failed."""
    steps = count(size, settings)
    every = settings.get("logging_steps", "")
    return steps is not None and every.isdecimal() and steps < int(every)
