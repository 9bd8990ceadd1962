"""`llamafactory-cli train` with the same arguments and the same numbers, without redundant casts.

    python py/fast_trainer.py --stage sft --do_train True ... [--shared_prefix True|auto] [--step_graphs False]

It runs LLaMA-Factory's own training (``run_exp``) with callbacks of ours, and has the model answer the first test items
when all is saved (fewshot_sft/training/generation_check.py).

- peft casts the input of each adapted layer to the adapter's fp32, and autocast casts it back to bf16: two passes over
  all activations for the same numbers. Under autocast that is switched off, by peft's own switch.
- On a GPU it uses liger-kernel's fused kernels; for GLM-4-9B, which ``enable_liger_kernel`` does not recognise, too.
- For Llama, Mistral, Qwen2 and 3, GLM, GLM-4-0414 and Gemma 3 the logits are computed only where there is a label (of
  GLM-4-9B some 5 of 230 positions, of 151,552 logits each), and a step is launched as one CUDA graph
  (fewshot_sft/training/step_graphs.py; ``--step_graphs False`` turns it off).
- ``--shared_prefix True`` computes what all examples of a batch begin with, the instruction, only once
  (fewshot_sft/training/shared_prefix.py); ``auto`` only where steps are CUDA graphs, where alone it was faster.

It uses one process and one GPU; llamafactory-cli would start one process per GPU. docs/performance.json
(training, graphs) says what each part is worth.
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from typing import Any

from transformers import TrainerCallback

from fewshot_sft.training.batches import FAST, IGNORED, LABELS_OF_BATCH, NOT_WITH, labelled_positions

LIGER = "--enable_liger_kernel"
NO_WAIT = ["--accelerator_config", '{"non_blocking": true}']  # for the GPU, at each copy of a batch
SHARED_PREFIX, STEP_GRAPHS = "--shared_prefix", "--step_graphs"  # ours
NEEDS_LOGITS = "--use_asft_loss"  # of all positions


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


class LogitsWhereLabelsAre(TrainerCallback):
    """Has a model compute logits, and with them the loss, only at positions that have a label.

    When the training begins, so that liger-kernel, which replaces the class's ``forward``, has done so before.
    """

    def on_train_begin(
        self, args: Any, state: Any, control: Any, model: Any = None, train_dataloader: Any = None, **_: Any
    ) -> None:
        """Change the model, if it is of a type that is tested and its data are at hand."""
        import torch

        data = train_dataloader.dataset
        own = model.get_base_model() if hasattr(model, "get_base_model") else model
        if own.config.model_type in FAST and not isinstance(data, torch.utils.data.IterableDataset):
            logits_where_labels_are(own, max(len(labels) - labels.count(IGNORED) for labels in data["labels"]))


def logits_where_labels_are(model: Any, longest: int = 0) -> None:
    """Have a causal language model compute logits, and with them the loss, only at positions that have a label.

    The others have no part in the loss. The number of positions that is computed is fixed by the batch's shape, not by
    its labels, so that the GPU need not be waited for.

    Args:
        model: of one of the types in ``FAST``; changed in place.
        longest: labels of the example that has the most.
    """
    import torch
    from transformers.modeling_outputs import CausalLMOutputWithPast

    if getattr(model.config, "final_logit_softcapping", None):  # which no Gemma 3 has
        return
    plain = model.forward

    def forward(*args: Any, labels: Any = None, num_items_in_batch: Any = None, **kwargs: Any) -> Any:
        if labels is None or not model.training:
            return plain(*args, labels=labels, num_items_in_batch=num_items_in_batch, **kwargs)
        hidden = model.model(*args, **kwargs).last_hidden_state
        # As transformers' ForCausalLMLoss: position i is asked for token i + 1.
        target = torch.nn.functional.pad(labels, (0, 1), value=IGNORED)[..., 1:]
        count = labelled_positions(target.shape[0], target.shape[1], longest)
        # A stable sort keeps the order; positions without a label fill the rest and are ignored.
        where = torch.sort((target != IGNORED).int(), dim=1, descending=True, stable=True).indices[:, :count]
        chosen = torch.gather(target, 1, where)
        hidden = torch.gather(hidden, 1, where.unsqueeze(-1).expand(-1, -1, hidden.shape[-1]))
        logits = model.lm_head(hidden).float()
        loss = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), chosen.flatten(), ignore_index=IGNORED, reduction="sum"
        )
        labelled = (target != IGNORED).sum()
        # Never a silently smaller loss: a row with more labels than that makes it nan, which ends the training.
        loss = torch.where(labelled == (chosen != IGNORED).sum(), loss, torch.full_like(loss, torch.nan))
        return CausalLMOutputWithPast(loss=loss / (labelled if num_items_in_batch is None else num_items_in_batch))

    model.forward = forward


def liger_for_glm() -> None:
    """Give GLM liger-kernel's RMSNorm and SwiGLU, those of GLM-4-0414 and Phi-3, whose layers are the same."""
    from liger_kernel.transformers.rms_norm import LigerRMSNormForGlm4
    from liger_kernel.transformers.swiglu import LigerPhi3SwiGLUMLP
    from transformers.models.glm import modeling_glm

    modeling_glm.GlmRMSNorm = LigerRMSNormForGlm4
    modeling_glm.GlmMLP = LigerPhi3SwiGLUMLP


def take_flag(flag: str, default: str) -> str:
    """Return the flag's last value in ``sys.argv``, and take it out: LLaMA-Factory does not know it."""
    value = default
    while flag in sys.argv:
        place = sys.argv.index(flag)
        value = "".join(sys.argv[place + 1 : place + 2])
        del sys.argv[place : place + 2]
    return value


def main(argv: list[str]) -> None:
    """Train as the command line says."""
    shared_prefix, graphs = take_flag(SHARED_PREFIX, "False"), take_flag(STEP_GRAPHS, "True") == "True"
    import torch

    from fewshot_sft.training.generation_check import GenerationCheck
    from fewshot_sft.training.shared_prefix import share_prefixes
    from fewshot_sft.training.step_graphs import graph_steps, takes_graphs

    # The scale of fp16's losses changes from step to step.
    graphs = graphs and torch.cuda.is_available() and "--fp16" not in argv
    auto = shared_prefix == "auto" and not set(NOT_WITH) & set(argv)
    if auto or shared_prefix == "True":
        share_prefixes(argv, LABELS_OF_BATCH, lambda model: graphs and takes_graphs(model), only_graphed=auto)
    from llamafactory.train.tuner import run_exp

    if torch.cuda.is_available() and importlib.util.find_spec("liger_kernel"):
        liger_for_glm()
        if LIGER not in argv:
            sys.argv += [LIGER, "True"]
    sys.argv[1:1] = NO_WAIT  # the user's comes later, and counts
    if graphs:
        graph_steps()
    check = GenerationCheck()
    run_exp(callbacks=[NoUselessCasts(), *([] if NEEDS_LOGITS in argv else [LogitsWhereLabelsAre()]), check])
    check.ask()


if __name__ == "__main__":
    main(sys.argv[1:])
