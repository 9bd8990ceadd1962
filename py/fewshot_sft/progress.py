"""How far a loop is: a bar on a terminal, a plain line every so often in a log."""

from __future__ import annotations

import sys
import time
from typing import TextIO

from .words import duration


class Progress:
    """Count ``done`` up to ``total``; write to ``stream`` (default: stderr) nothing that spoils a log file."""

    def __init__(self, label: str, total: int, done: int = 0, every: float = 30, stream: TextIO | None = None) -> None:
        self._label = label
        self._total = total
        self._done = self._start = done
        self._every = every
        self._stream = stream or sys.stderr
        self._began = self._said = time.monotonic()
        self._bar = None
        if self._stream.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total, initial=done, desc=label, unit="item", file=self._stream)

    def advance(self) -> None:
        """One more is done."""
        self._done += 1
        if self._bar is not None:
            self._bar.update()
        self.tick()

    def tick(self) -> None:
        """Say a line when it is time for one; call it now and then when nothing gets done."""
        if self._bar is None and time.monotonic() - self._said >= self._every:
            self._say()

    def close(self) -> None:
        """Say where it ended."""
        if self._bar is not None:
            self._bar.close()
        else:
            self._say()

    def _say(self) -> None:
        self._said = time.monotonic()
        done = self._done - self._start
        rate = done / max(self._said - self._began, 1e-9)
        line = f"{self._label}: {self._done}/{self._total} answered"
        if done:
            line += f", {rate:.1f} items/s"
            if self._done < self._total:
                line += f", {duration((self._total - self._done) / rate)} left"
        print(line, file=self._stream, flush=True)
