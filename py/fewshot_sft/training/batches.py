"""What py/fast_trainer.py does with a batch, as far as the plan for the hardware has to know it. No PyTorch here."""

from __future__ import annotations

from typing import NamedTuple

# Model types whose training steps are launched as CUDA graphs (step_graphs.py), whose logits are computed only where
# labels are (fast_trainer.py), and whose attention takes any mask and any positions, by test
# (tests/test_shared_prefix.py).
FAST = ("gemma3_text", "glm", "glm4", "llama", "mistral", "qwen2", "qwen3")
# LLaMA-Factory's flags for what the number or the length of the sequences changes.
NOT_WITH = ("--neftune_noise_alpha", "--use_asft_loss", "--ignore_pad_token_for_loss", "--compute_accuracy")
# Weights x tokens of a batch that is a graph: with more, the GPU takes longer to compute than any CPU to launch. 4,096
# tokens of GLM-4-9B.
MOST_WORK = 4096 * 9_400_000_000
FEWEST_TOKENS = 64
IGNORED = -100  # a label that has no part in the loss
# Where logits are computed only where labels are: so many for an example, and for a batch, if none has more labels.
LABELS, LABELS_OF_BATCH = 64, 512


class Cost(NamedTuple):
    """What a model's forward costs, in FLOPs: ``linear`` a token, ``attention`` a pair of tokens."""

    linear: float
    attention: float

    @classmethod
    def of_decoder(cls, weights: int, layers: int, width: int) -> Cost:
        """Return a decoder's: 2 FLOPs a weight and token, 4 a layer, pair of tokens and number of all heads' query."""
        return cls(2.0 * weights, 4.0 * layers * width)

    def of(self, sequences: int, length: int) -> float:
        """Return the FLOPs of ``sequences`` sequences of ``length`` tokens."""
        return sequences * length * (self.linear + self.attention * length)


def eights(tokens: int) -> int:
    """Return the next multiple of eight: what the attention kernels want of a mask."""
    return -(-tokens // 8) * 8


def few_lengths(tokens: int) -> int:
    """Return what so many tokens are padded to for a graph: one of few lengths, by less than 64 tokens or an eighth."""
    step = max(FEWEST_TOKENS, 1 << (tokens - 1).bit_length() >> 4)
    return -(-tokens // step) * step


def few_shapes(examples: int, length: int) -> int:
    """Return what so many examples are padded to for a graph: one of few lengths, as :func:`few_lengths` together."""
    return eights(-(-few_lengths(examples * length) // examples))


def labelled_positions(examples: int, length: int, longest: int = 0) -> int:
    """Return for how many positions of each example logits are computed: as many in each batch of its shape.

    Args:
        examples, length: the batch's shape.
        longest: labels of the example that has the most.
    """
    return min(max(LABELS, longest, LABELS_OF_BATCH // examples), length)
