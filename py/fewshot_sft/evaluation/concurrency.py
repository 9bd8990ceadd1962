"""How many requests are under way at once: a fixed number, or as many as the server turns into more answers.

The caller tells what happens, with the time of each event; nothing here looks at a clock or waits.
"""

from __future__ import annotations

import math

START = 8
# Where the server is known to compute in batches and one evaluation has it mostly to itself: the climb takes its time.
START_BATCHING = 128
MOST = 512
# Twice the requests under way have to bring at least a tenth more answers a second, four times a fifth more.
WORTHWHILE = math.log2(1.1)
# From a number that more did not help to the next try: so many times as many answers as are under way, then twice that.
HOLD = 8


class Fixed:
    """Always the same number: ``limit`` is how many requests may be under way now, ``highest`` the most ever."""

    def __init__(self, limit: int) -> None:
        self.limit = self.highest = limit

    def answered(self, now: float, in_flight: int) -> None:
        """An answer came at ``now`` (seconds) and leaves ``in_flight`` requests under way."""

    def overloaded(self, began: float, now: float) -> None:
        """A request that began at ``began`` was turned away for too much load, or timed out, at ``now``."""


class Adaptive(Fixed):
    """Climb while answers come faster, stay where they do not, halve when the server has too much to do.

    It climbs from ``start`` by a factor of 4. When that brings too little it goes back and tries 2, then it stays and
    tries again now and then. A server that answers one request at a time is left at ``start``, so that requests do not
    time out in its queue; nor is any number above it tried at which a request would take a quarter of ``timeout``.
    """

    def __init__(self, timeout: float, most: int = MOST, start: int = START) -> None:
        """Start; ``timeout`` is what a request may take, in seconds, ``most`` the largest number ever tried."""
        super().__init__(min(start, most))
        self._patience = timeout / 4
        self._most = most
        self._held = 0  # windows since the last try
        self._cut = -math.inf  # when it was last halved
        self._hold = HOLD
        self._since: float | None = None  # when the answers began to be counted
        self._factor = 4
        self._best: tuple[int, float] | None = None  # the number it stays at without the present try, and its rate
        self._watch(skip=self.limit)

    def answered(self, now: float, in_flight: int) -> None:
        """Count an answer; look at the rate when there are enough of them."""
        if in_flight + 1 < self.limit:  # not what this number can do: there is too little left to ask
            self._watch(skip=0)
        if self._skip > 0:
            self._skip -= 1
        elif self._since is None:
            self._since = now
        else:
            self._count += 1
            # Whole rounds: a server that works in batches answers many at once, then nothing for a while.
            if self._count >= max(self.limit, START) and now > self._since:
                self._decide(self._count / (now - self._since))

    def overloaded(self, began: float, now: float) -> None:
        """Halve, once for all requests that were under way together; then stay there for some time."""
        if began <= self._cut:
            return
        self._cut = now
        self._hold *= 2
        self._stay(max(1, self.limit // 2))

    def _decide(self, rate: float) -> None:
        bearable = max(1, int(rate * self._patience))
        if self._best is None or self.limit == self._best[0]:
            self._best = (self.limit, rate)
            self._held += 1
            if self._factor == 1 and self._held >= self._hold:
                self._factor = 2
        elif rate >= self._best[1] * (self.limit / self._best[0]) ** WORTHWHILE:
            self._best = (self.limit, rate)
            self._hold = HOLD
        elif self._factor == 4:
            self._factor = 2
        else:
            self._hold *= 2
            return self._stay(min(self._best[0], bearable))
        self._go_to(min(self._best[0] * self._factor, self._most, bearable))

    def _stay(self, limit: int) -> None:
        self._factor, self._held, self._best = 1, 0, None
        self._go_to(limit)

    def _go_to(self, limit: int) -> None:
        before, self.limit = self.limit, limit
        self.highest = max(self.highest, limit)
        # The answers to what was asked before say nothing about the new number.
        self._watch(skip=before if limit != before else 0)

    def _watch(self, skip: int) -> None:
        self._skip, self._count = skip, 0
        self._since = None
