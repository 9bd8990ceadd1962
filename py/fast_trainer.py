"""`llamafactory-cli train` with the same arguments and the same numbers, without work that leads nowhere.

    python py/fast_trainer.py --stage sft --do_train True ...

It is LLaMA-Factory's own training, with one callback. peft casts the input of every adapted layer to the adapter's
fp32, and autocast casts it back to bf16 before the product: two passes over all activations for the same numbers. Under
autocast this switches the first one off, by the switch that peft has for it (peft.helpers.disable_input_dtype_casting).
One process and one GPU; llamafactory-cli would start one process a GPU.
"""

from __future__ import annotations

import contextlib
import sys
from typing import Any

from transformers import TrainerCallback


class NoUselessCasts(TrainerCallback):
    """Switches peft's casts off for the time of a training in bf16 or fp16."""

    def __init__(self) -> None:
        self._while_training = contextlib.ExitStack()

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Switch them off. Without autocast (fp32) they do nothing, and in pure bf16 they are needed: left alone."""
        from peft.helpers import disable_input_dtype_casting

        if args.bf16 or args.fp16:
            self._while_training.enter_context(disable_input_dtype_casting(model))

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Switch them on again."""
        self._while_training.close()


def main() -> None:
    """Train as the command line says."""
    from llamafactory.train.tuner import run_exp

    run_exp(callbacks=[NoUselessCasts()])


if __name__ == "__main__":
    sys.exit(main())
