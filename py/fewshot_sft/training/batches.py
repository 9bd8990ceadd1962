"""What py/fast_trainer.py does with a batch, as far as the plan for the hardware has to know it. No PyTorch here."""

from __future__ import annotations

from typing import NamedTuple

# Model types whose training steps are launched as CUDA graphs (step_graphs.py), and those whose attention takes any
# mask and any positions, by test (tests/test_shared_prefix.py).
GRAPHED = ("glm",)
TAKE_ANY_MASK = ("glm", "glm4", "llama", "qwen2", "qwen3")
# LLaMA-Factory's flags for what the number or the length of the sequences changes.
NOT_WITH = ("--neftune_noise_alpha", "--use_asft_loss", "--ignore_pad_token_for_loss", "--compute_accuracy")
MOST_TOKENS = 4096  # of a batch that is a graph: with more, the GPU takes longer to compute than any CPU to launch
FEWEST_TOKENS = 64


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
