"""The user's own labelled texts: labels that look wrong, texts that are there nearly twice, and what to label next."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UserError


class Absent(UserError):
    """A part cannot be made of these data; the message says why."""


@dataclass(frozen=True)
class Labelled:
    """One labelled text: its split (``train``, ``valid``, ``test``), and its row in the split's file, from 1."""

    split: str
    row: int
    text: str
    label: str
