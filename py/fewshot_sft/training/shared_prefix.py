"""A batch whose examples begin alike, as one sequence: the common beginning once, then what is each example's own.

The examples of one task share their instruction. In a causal model its hidden states depend on nothing that follows, so
they are the same in every example, and computing them once gives the same loss and, as the gradients of all examples
add up in them, the same update, up to rounding. Each example's own tokens attend to the common beginning and to
themselves (a 4D mask), at the positions that they have in the example alone. The padding between examples of different
lengths goes as well, without a change of their order. As in prefix sharing at inference (Hydragen, Juravsky et al.
2024, arXiv:2402.05099), here for training.

It pays while the examples are short: attention is computed between all tokens of the sequence and then masked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from ..errors import UserError
from .batches import FAST, IGNORED, NOT_WITH, Cost, eights, few_lengths, few_shapes


def cost_of(model: torch.nn.Module) -> Cost:
    """Return a causal language model's cost; a weight in 4 bit is counted as the numbers that it stands for."""
    config: Any = model.config
    packed = ((parameter, getattr(parameter, "quant_state", None)) for parameter in model.parameters())
    weights = sum(parameter.numel() if state is None else math.prod(state.shape) for parameter, state in packed)
    heads = config.num_attention_heads
    head = getattr(config, "head_dim", None) or config.hidden_size // heads
    return Cost.of_decoder(weights, config.num_hidden_layers, heads * head)


def merged(
    batch: Mapping[str, torch.Tensor],
    cost: Cost,
    most_labels: int,
    padded: Callable[[int], int] = eights,
    window: int | None = None,
) -> dict[str, Any]:
    """Return the batch as one sequence, or as it is where that cannot be or costs more.

    Args:
        batch: ``input_ids``, ``attention_mask`` (1 or 0) and ``labels``, each of shape (examples, length), padded on
            the right; with anything else in it, or labels at the padding, it is returned as it is.
        cost: the model's.
        most_labels: with more labels than this in all examples together, it is returned as it is.
        padded: the length that a sequence of so many tokens is padded to.
        window: tokens that the model's attention looks back, where it is limited; with a longer example in it, the
            batch is returned as it is.

    Returns:
        ``input_ids``, ``labels``, ``position_ids`` of shape (1, tokens), ``attention_mask`` (1, 1, tokens, tokens),
        True where a token (third dimension) attends to another (fourth).
    """
    if set(batch) != {"input_ids", "attention_mask", "labels"} or batch["attention_mask"].dim() != 2:
        return dict(batch)
    ids, mask, labels = batch["input_ids"], batch["attention_mask"].bool(), batch["labels"]
    examples, length = ids.shape
    lengths = mask.sum(1)
    if examples == 1 or not torch.equal(mask, torch.arange(length) < lengths.unsqueeze(1)):
        return dict(batch)
    if window is not None and int(lengths.max()) > window:
        return dict(batch)
    labelled = labels != IGNORED
    if int(labelled.sum()) > most_labels or bool((labelled & ~mask).any()):
        return dict(batch)
    common = common_beginning(ids, lengths, labels)
    own = (lengths - common).tolist()
    tokens = padded(common + sum(own))
    if common == 0 or cost.of(1, tokens) >= cost.of(examples, length):
        return dict(batch)

    padding = tokens - common - sum(own)
    # Which example a token belongs to; the common beginning is 0, each token of the padding is on its own.
    nobody = torch.zeros(common, dtype=torch.long)
    owner = torch.cat([nobody, torch.repeat_interleave(torch.arange(1, examples + 1), lengths - common)])
    owner = torch.cat([owner, torch.arange(examples + 1, examples + 1 + padding)])
    position = torch.arange(tokens)
    sees = (owner == owner.unsqueeze(1)) | (owner == 0)
    sees &= position <= position.unsqueeze(1)
    sees[tokens - padding :, :common] = False

    mine = mask.clone()
    mine[:, :common] = False
    rest = torch.full((padding,), IGNORED)
    rows = (torch.arange(common, common + count) for count in own)
    return {
        "input_ids": torch.cat([ids[0, :common], ids[mine], ids.new_zeros(padding)]).unsqueeze(0),
        "labels": torch.cat([labels[0, :common], labels[mine], rest]).unsqueeze(0),
        "position_ids": torch.cat([torch.arange(common), *rows, ids.new_zeros(padding)]).unsqueeze(0),
        "attention_mask": sees[None, None],
    }


def of_few_shapes(batch: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """Return a batch padded on the right, by less than 64 tokens or an eighth, so that all have one of few shapes.

    One with anything else in it than :func:`merged` takes is returned as it is.
    """
    if set(batch) != {"input_ids", "attention_mask", "labels"} or batch["attention_mask"].dim() != 2:
        return dict(batch)
    examples, length = batch["input_ids"].shape
    more = few_shapes(examples, length) - length
    fill = {"labels": IGNORED}
    return {name: torch.nn.functional.pad(tensor, (0, more), value=fill.get(name, 0)) for name, tensor in batch.items()}


def common_beginning(ids: torch.Tensor, lengths: torch.Tensor, labels: torch.Tensor) -> int:
    """Return how many tokens all examples begin with, none of which may be asked to predict another example's token.

    The last of them predicts the first token of each example's own part, so that one must have no label.
    """
    alike = (ids == ids[0]).all(0) & (labels == IGNORED).all(0)
    alike = alike[: int(lengths.min())]
    common = int(alike.int().cumprod(0).sum())
    # The token behind it: in every example one of its own, and without a label.
    while common > 0 and (common >= int(lengths.min()) or bool((labels[:, common] != IGNORED).any())):
        common -= 1
    return common


def takes_any_mask(model: Any) -> bool:
    """Return whether the model's attention takes any mask and any positions, and nothing in it is drawn by lot.

    False of models that are not known to, of attention to what follows, and of dropout, which would be drawn once for
    all examples.
    """
    config: Any = getattr(model, "config", None)
    return (
        getattr(config, "model_type", None) in FAST
        and config._attn_implementation == "sdpa"
        and not getattr(config, "use_bidirectional_attention", False)
        and not getattr(config, "attention_dropout", 0)
        and not any(isinstance(module, torch.nn.Dropout) and module.p for module in model.modules())
    )


def share_prefixes(
    flags: Sequence[str], most_labels: int, graphed: Callable[[Any], bool], only_graphed: bool = False
) -> None:
    """Have LLaMA-Factory's collator merge each batch of a model that takes it.

    Args:
        flags: those of its training.
        most_labels: as for :func:`merged`.
        graphed: whether a model's steps are launched as graphs, for which batches are padded to few shapes.
        only_graphed: batches of other models are left as they are.

    Raises:
        UserError: a flag asks for what the number or the length of the sequences changes.
    """
    from llamafactory.data.collator import SFTDataCollatorWith4DAttentionMask

    for flag in NOT_WITH:
        if flag in flags:
            raise UserError(f"{flag} cannot be with a shared prefix; set SHARED_PREFIX=0")
    plain = SFTDataCollatorWith4DAttentionMask.__call__

    def collate(self: Any, features: list[dict[str, Any]]) -> Any:
        batch = plain(self, features)
        if not hasattr(self, "cost"):
            self.graphs = graphed(self.model)
            takes = takes_any_mask(self.model) and (self.graphs or not only_graphed)
            self.cost = cost_of(self.model) if takes else None
        if self.cost is not None:
            window = getattr(self.model.config, "sliding_window", None)
            batch = merged(batch, self.cost, most_labels, few_lengths if self.graphs else eights, window)
        return of_few_shapes(batch) if self.graphs else batch

    SFTDataCollatorWith4DAttentionMask.__call__ = collate
