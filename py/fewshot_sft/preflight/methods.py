"""Whether the methods beside LoRA find what they need; one that does not is left out, said before the night.

And whether UNLABELLED_FILE can be read, and something will be made of it.
"""

from __future__ import annotations

from importlib.util import find_spec

from .. import runs
from ..errors import UserError
from ..methods import Unavailable, encoders
from ..quality import unlabelled
from ..settings import Settings
from . import Finding

UNLABELLED = "unlabelled texts"


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


def check_unlabelled(settings: Settings) -> list[Finding]:
    """Return a problem when the file cannot be read, a warning when METHODS lacks what it is for."""
    if not settings.unlabelled_file:
        return []
    try:
        count = len(unlabelled.read(settings))
    except UserError as error:
        return [Finding.of_error(UNLABELLED, error, "set UNLABELLED_FILE to another, or leave it empty")]
    if "tfidf" not in runs.methods(settings):
        what = "UNLABELLED_FILE is not looked at without the method tfidf"
        return [Finding(UNLABELLED, "warning", what, "add tfidf to METHODS")]
    return [Finding(UNLABELLED, "ok", f"{count} in {settings.unlabelled_file}")]
