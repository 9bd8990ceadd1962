"""What is checked before the first expensive minute: each check returns findings, none raises or changes anything."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from ..errors import UserError

Result = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """The outcome of one check: what was found, and for a problem or warning the command or setting that mends it."""

    check: str
    result: Result
    message: str
    mend: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of_error(cls, check: str, error: UserError, mend: str = "") -> Finding:
        """Return an error as a problem: what is wrong, and behind its first semicolon what mends it, else ``mend``."""
        what, _, own = str(error).partition("; ")
        return cls(check, "problem", what, own or mend)

    @property
    def text(self) -> str:
        """The finding as a sentence for the terminal."""
        return f"{self.check}: {self.message}" + (f"; {self.mend}" if self.mend else "")

    def record(self) -> dict[str, Any]:
        """Return the finding for the JSON record."""
        mend = {"mend": self.mend} if self.mend else {}
        return {"check": self.check, "result": self.result, "message": self.message, **mend, **self.facts}


def amount(size: float) -> str:
    """Return a number of bytes as people read it: ``512 KB``, ``1.5 GB`` (powers of 1000, as ``df -H`` and hubs do)."""
    for unit in ("B", "KB", "MB", "GB"):
        if size < 999.5 or unit == "GB":
            return f"{size:.1f} {unit}" if unit == "GB" else f"{size:.0f} {unit}"
        size /= 1000
    raise AssertionError
