"""Keeps keys, tokens and passwords out of what is written: an error often repeats what it was sent."""

from __future__ import annotations

import os
import re

NAMES = ("API_KEY", "TOKEN", "SECRET", "PASSWORD")
SHORTEST = 6  # "0" is no secret, and without it no number could be read any more


def redact(text: str) -> str:
    """Return ``text`` with ``***`` for every secret of the environment and for every ``user:password@`` of a URL.

    A variable holds a secret when it is named as one of :data:`NAMES` or ends with ``_`` and one of them, in either
    case (``HF_TOKEN``, ``FEWSHOT_API_KEY``, ...), or ends with ``_ACCESS_KEY``. Characters that UTF-8 cannot write
    (bytes of a log that was cut in the middle of a letter) become ``?``.
    """
    # The longest first: one secret may be the beginning of another.
    for secret in sorted({value for name, value in os.environ.items() if _is_secret(name, value)}, key=len)[::-1]:
        text = text.replace(secret, "***")
    text = re.sub(r"(\w://)[^/\s]+@", r"\1***@", text)
    return text.encode("utf-8", "replace").decode("utf-8")


def _is_secret(name: str, value: str) -> bool:
    name, value = name.upper(), value.strip()
    known = name in NAMES or name.endswith((*(f"_{each}" for each in NAMES), "_ACCESS_KEY"))
    return known and len(value) >= SHORTEST
