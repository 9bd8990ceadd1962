"""Whether the methods beside LoRA find what they need; one that does not is left out, said before the night."""

from __future__ import annotations

from importlib.util import find_spec

from .. import runs
from ..methods import Unavailable, encoders
from ..settings import Settings
from . import Finding


def check(settings: Settings) -> list[Finding]:
    """Return a warning for the methods of METHODS that will be left out; nothing is downloaded."""
    wanted = [each for each in runs.methods(settings) if each in encoders.METHODS]
    if not wanted:
        return []
    try:
        _, name = encoders.find(settings, fetch=False)
    except Unavailable as error:
        why, _, mend = str(error).rpartition("; ")
        return [Finding("methods", "warning", f"{', '.join(wanted)} will be left out: {why}", mend)]
    if "setfit" in wanted and find_spec("setfit") is None:
        what = "setfit will be left out: its package is not installed"
        return [Finding("methods", "warning", what, "install it with bin/setup.sh, or take it out of METHODS")]
    return [Finding("methods", "ok", f"the encoder of {', '.join(wanted)} is {name}")]
