"""How many optimizer steps a training has, as transformers counts them, and what follows from it."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ..errors import UserError

# Flags of trainer and server that what is checked and planned before the training depends on.
ABOVE_0 = ("cutoff_len", "gradient_accumulation_steps", "lora_rank", "per_device_train_batch_size")
WHOLE = (*ABOVE_0, "max_steps", "quantization_bit")
OF_TRAINER = ("learning_rate", "logging_steps", "lora_dropout", "num_train_epochs", "save_steps", "warmup_steps")
OF_SERVER = ("gpu_memory_utilization", "vllm_gpu_util")


def check_numbers(setting: str, flags: Mapping[str, str]) -> None:
    """Check the flags that ``setting``, TRAIN_ARGS or SERVER_ARGS, has.

    Raises:
        UserError: one that needs a number has none.
    """
    for name in (*WHOLE, *OF_TRAINER, *OF_SERVER):
        try:
            number = (int if name in WHOLE else float)(flags.get(name, "1"))
        except ValueError:
            raise UserError(f"{setting} has --{name} {flags[name]}; give it a number") from None
        if name in ABOVE_0 and number < 1:
            raise UserError(f"{setting} has --{name} {number}; give it a number above 0")


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
