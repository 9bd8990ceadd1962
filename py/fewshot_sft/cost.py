"""What a decoder's forward costs. No PyTorch here: the plan for the hardware asks, too."""

from __future__ import annotations

from typing import NamedTuple


class Cost(NamedTuple):
    """What a model's forward costs, in FLOPs: ``linear`` a token, ``attention`` a pair of tokens."""

    linear: float
    attention: float

    def of(self, sequences: int, length: int) -> float:
        """Return the FLOPs of ``sequences`` sequences of ``length`` tokens."""
        return sequences * length * (self.linear + self.attention * length)
