"""The labels as a tree of tokens: what has to be known of the next token, and where, to know each label's probability.

A label's probability is the product over the branches on its way: at each prefix that it shares with another label,
that of its next token among all tokens of the vocabulary. What follows when it is alone is not looked at, for no other
label is left. Where a label is the beginning of another one its end is a branch, too. The sum over the labels is below
1 by the probability that the model begins none of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Prefix = tuple[int, ...]
Found = dict[int, float]
"""Probabilities by token, at one prefix."""

END = -1  # stands for all tokens that end an answer
LEAST = 0.01  # less is not asked for
SHARED = 0.1  # so much may labels that are not known share


@dataclass(frozen=True)
class Branches:
    """What may follow a prefix: the tokens, and for each the labels that go on with it."""

    labels: Mapping[int, tuple[int, ...]]
    asked: tuple[int, ...]  # tokens whose probabilities tell all


class LabelTree:
    """The tree; ``branches`` has the prefixes that two labels share, and the empty one, the shortest first."""

    def __init__(self, labels: Sequence[Sequence[int]], ends: Sequence[int]) -> None:
        """Make it.

        Args:
            labels: the tokens of each, as trained after the prompt, without an end.
            ends: the tokens that end an answer.
        """
        self.count = len(labels)
        self.ends = tuple(ends)
        self.branches: dict[Prefix, Branches] = {}
        level: list[tuple[Prefix, tuple[int, ...]]] = [((), tuple(range(len(labels))))]
        while level:
            deeper = []
            for prefix, own in level:
                following: dict[int, list[int]] = {}
                for label in own:
                    tokens = labels[label]
                    following.setdefault(tokens[len(prefix)] if len(tokens) > len(prefix) else END, []).append(label)
                asked = [*(token for token in following if token != END), *(self.ends if END in following else ())]
                grouped = {token: tuple(found) for token, found in following.items()}
                self.branches[prefix] = Branches(grouped, tuple(dict.fromkeys(asked)))
                deeper += [((*prefix, token), found) for token, found in grouped.items() if len(found) > 1]
            level = deeper

    def walk(self, positions: Sequence[tuple[int, Found]]) -> dict[Prefix, Found]:
        """Return what an answer tells: its tokens from the first on, each with what was found at its position."""
        known: dict[Prefix, Found] = {}
        prefix: Prefix = ()
        for token, found in positions:
            if prefix not in self.branches:
                break
            known[prefix] = found
            prefix = (*prefix, token)
        return known

    def masses(self, known: Mapping[Prefix, Found]) -> tuple[list[float], list[Prefix]]:
        """Return each label's probability, and the prefixes of whose next token more is to be told.

        Of a prefix the likeliest tokens are known, or all that matter. Labels of whose way something is not known share
        what the known tokens leave. More is to be told where one of them may be as likely as the likeliest that is
        known and as LEAST, or where they share more than SHARED of what may as well be no label. (Where nothing is
        known a label has begun; it goes on as one.)

        Raises:
            ValueError: a probability is no number.
        """
        masses = [0.0] * self.count
        best, left = LEAST, list[tuple[Prefix, float, float]]()
        reached: dict[Prefix, float] = {(): 1.0}
        for prefix, branches in self.branches.items():
            if (mass := reached.get(prefix)) is None:
                continue
            found = known.get(prefix, {})
            if not math.isfinite(sum(found.values())):
                raise ValueError(f"the probabilities after {prefix} are {found}")
            rest = mass * max(0.0, 1 - sum(found.values()))
            most = min([rest, *(mass * each for each in found.values())])  # no other token is likelier than a known one
            untold: list[int] = []
            likeliest, unknown = 0.0, 0
            for token, own in branches.labels.items():
                tokens = self.ends if token == END else (token,)
                share = sum(found.get(each, 0.0) for each in tokens)
                lacking = sum(each not in found for each in tokens)
                unknown += lacking
                if (more_of_it := min(rest, lacking * most)) > LEAST:
                    likeliest = max(likeliest, mass * share + more_of_it)
                if lacking == len(tokens):
                    untold += own
                elif len(own) == 1:
                    masses[own[0]] = mass * share
                    best = max(best, mass * share)
                else:
                    reached[*prefix, token] = mass * share
            for label in untold:
                masses[label] = min(most, rest / len(untold))
            left.append((prefix, likeliest, min(rest, unknown * most) if found else 0.0))
        more: list[Prefix] = []
        for prefix, likeliest, together in left:
            if likeliest >= best or together > SHARED:
                more.append(prefix)
                # What is the only way on is asked for at once, too.
                while len(on := self.branches[prefix].labels) == 1 and (*prefix, *on) in self.branches:
                    prefix = (*prefix, *on)
                    more.append(prefix)
        return masses, more

    @property
    def twigs(self) -> list[Prefix]:
        """Return the prefixes that no longer one begins with: on the way to them are all the others."""
        inner = {prefix[:-1] for prefix in self.branches if prefix}
        return [prefix for prefix in self.branches if prefix not in inner]


def read_position(entries: Sequence[Mapping[str, Any]]) -> Found:
    """Return what `vllm serve` says of one position, ``[{"token": "token_id:7", "logprob": -0.1}, ...]``.

    Raises:
        ValueError, KeyError, TypeError: that is something else.
    """
    return {token_of(each["token"]): math.exp(each["logprob"]) for each in entries}


def token_of(text: str) -> int:
    """Return the number in ``token_id:7``, as `vllm serve` writes a token with ``return_tokens_as_token_ids``."""
    return int(text.removeprefix("token_id:"))
