"""How many optimizer steps a training has, as transformers counts them, and what follows from it."""

from __future__ import annotations

import math
from collections.abc import Mapping

# Flags of the trainer that what is checked and planned before the training depends on.
WHOLE = ("cutoff_len", "gradient_accumulation_steps", "lora_rank", "max_steps", "per_device_train_batch_size")
NUMBERS = ("learning_rate", "logging_steps", "lora_dropout", "num_train_epochs", "save_steps", "warmup_steps")


def not_a_number(flags: Mapping[str, str]) -> str | None:
    """Return the first flag that should have a number and has none, as ``--cutoff_len abc``; None when all are well."""
    for name in (*WHOLE, *NUMBERS):
        try:
            (int if name in WHOLE else float)(flags.get(name, "0"))
        except ValueError:
            return f"--{name} {flags[name]}"
    return None


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
