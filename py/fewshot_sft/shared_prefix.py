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

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

IGNORED = -100  # a label that has no part in the loss
MULTIPLE = 8  # of tokens: what the attention kernels want of a mask


class Cost(NamedTuple):
    """What a model's forward costs, in FLOPs: ``linear`` a token, ``attention`` a pair of tokens."""

    linear: float
    attention: float

    def of(self, sequences: int, length: int) -> float:
        """Return the FLOPs of ``sequences`` sequences of ``length`` tokens."""
        return sequences * length * (self.linear + self.attention * length)


def cost_of(model: torch.nn.Module) -> Cost:
    """Return a causal language model's cost: 2 FLOPs a weight and token, 4 a layer, hidden unit and pair of tokens."""
    config: Any = model.config
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Cost(2.0 * parameters, 4.0 * config.num_hidden_layers * config.hidden_size)


def merged(batch: Mapping[str, torch.Tensor], dtype: torch.dtype, cost: Cost, most_labels: int) -> dict[str, Any]:
    """Return the batch as one sequence, or as it is where that cannot be or costs more.

    Args:
        batch: ``input_ids``, ``attention_mask`` (1 or 0) and ``labels``, each of shape (examples, length), padded on
            the right; with anything else in it, it is returned as it is.
        dtype: of the mask that is added to the attention's scores: the model's under autocast.
        cost: the model's.
        most_labels: with more labels than this in all examples together, it is returned as it is.

    Returns:
        ``input_ids``, ``labels``, ``position_ids`` of shape (1, tokens), ``attention_mask`` (1, 1, tokens, tokens).
    """
    if set(batch) != {"input_ids", "attention_mask", "labels"} or batch["attention_mask"].dim() != 2:
        return dict(batch)
    ids, mask, labels = batch["input_ids"], batch["attention_mask"].bool(), batch["labels"]
    examples, length = ids.shape
    lengths = mask.sum(1)
    if examples == 1 or not torch.equal(mask, torch.arange(length) < lengths.unsqueeze(1)):
        return dict(batch)
    common = common_beginning(ids, lengths, labels)
    own = (lengths - common).tolist()
    tokens = -(-(common + sum(own)) // MULTIPLE) * MULTIPLE
    if common == 0 or cost.of(1, tokens) >= cost.of(examples, length) or int((labels != IGNORED).sum()) > most_labels:
        return dict(batch)

    padding = tokens - common - sum(own)
    # Which example a token belongs to; the common beginning is 0, each token of the padding is on its own.
    owner = torch.cat([torch.zeros(common), torch.repeat_interleave(torch.arange(1, examples + 1), lengths - common)])
    owner = torch.cat([owner, torch.arange(examples + 1, examples + 1 + padding)])
    position = torch.arange(tokens)
    sees = (owner == owner.unsqueeze(1)) | (owner == 0)
    sees &= position <= position.unsqueeze(1)
    sees[tokens - padding :, :common] = False
    attention = torch.zeros(tokens, tokens, dtype=dtype).masked_fill_(~sees, torch.finfo(dtype).min)

    mine = mask.clone()
    mine[:, :common] = False
    rest = torch.full((padding,), IGNORED)
    return {
        "input_ids": torch.cat([ids[0, :common], ids[mine], ids.new_zeros(padding)]).unsqueeze(0),
        "labels": torch.cat([labels[0, :common], labels[mine], rest]).unsqueeze(0),
        "position_ids": torch.cat(
            [torch.arange(common), *(torch.arange(common, common + count) for count in own), torch.zeros(padding)]
        )
        .long()
        .unsqueeze(0),
        "attention_mask": attention[None, None],
    }


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
