"""Durations and texts as a person reads them on one line of a terminal, a log or a telephone."""

from __future__ import annotations

import unicodedata


def display_width(text: str) -> int:
    """Return the terminal columns that a text takes: East Asian wide characters two, combining marks none."""
    return sum(map(_columns, text))


def duration(seconds: float) -> str:
    """Return a duration as ``4 h 12 min``, ``3 min 07 s`` or ``34 s``."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"


def one_line(text: str, columns: int) -> str:
    """Return ``text`` on one line and without control characters, cut to so many columns: then it ends with "…"."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    if display_width(line) <= columns:
        return line
    left, kept = columns - 1, []
    for char in line:
        left -= _columns(char)
        if left < 0:
            break
        kept.append(char)
    return "".join(kept).rstrip() + "…"


def _columns(char: str) -> int:
    return 0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
