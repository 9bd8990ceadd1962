"""Whether UNLABELLED_FILE can be read, and something will be made of it."""

from __future__ import annotations

from .. import runs
from ..errors import UserError
from ..quality import unlabelled
from ..settings import Settings
from . import Finding

CHECK = "unlabelled texts"


def check(settings: Settings) -> list[Finding]:
    """Return a problem when the file cannot be read, a warning when METHODS lacks what it is for."""
    if not settings.unlabelled_file:
        return []
    try:
        count = len(unlabelled.read(settings))
    except UserError as error:
        what, _, mend = str(error).partition("; ")
        return [Finding(CHECK, "problem", what, mend or "set UNLABELLED_FILE to another, or leave it empty")]
    if "tfidf" not in runs.methods(settings):
        what = "UNLABELLED_FILE is not looked at without the method tfidf"
        return [Finding(CHECK, "warning", what, "add tfidf to METHODS")]
    return [Finding(CHECK, "ok", f"{count} in {settings.unlabelled_file}")]
