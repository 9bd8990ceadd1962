"""What decided a result: package versions, the project's revision, the time."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
PACKAGES = ("llamafactory", "torch", "transformers", "peft", "trl", "datasets", "vllm", "langchain-openai", "evaluate")


def versions(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Return the installed version of each package, and of Python; a package that is not installed is absent."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def git_revision() -> str | None:
    """Return the project's git revision, ``-dirty`` appended when tracked files differ, or None outside git.

    An image has no ``.git``: there the build leaves the revision in the file ``REVISION``.
    """
    noted = PROJECT / "REVISION"
    if noted.is_file():
        return noted.read_text(encoding="utf-8").strip() or None
    try:
        out = subprocess.run(
            ["git", "-C", str(PROJECT), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return out.stdout.strip() or None


def now() -> str:
    """Return the current time, UTC, ISO 8601 to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
