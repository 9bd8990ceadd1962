"""What decides a step's result, and how two such accounts differ: a step is skipped only when they do not."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from .errors import UserError
from .jsonio import read_json


def split_command(argv: list[str]) -> tuple[list[str], list[str]]:
    """Split ``[our flags] -- [another program's command]`` at the first ``--``; without one, there is no command."""
    cut = argv.index("--") if "--" in argv else len(argv)
    return argv[:cut], argv[cut + 1 :]


def settings_of(command: list[str]) -> dict[str, str]:
    """Return a command's flags ``--key value`` as a dictionary; a flag without value is "True"."""
    settings: dict[str, list[str]] = {}
    key = None
    for word in command:
        if word.startswith("--"):
            key = word[2:]
            settings[key] = []
        elif key is not None:
            settings[key].append(word)
    return {key: " ".join(words) or "True" for key, words in settings.items()}


def flags_of(text: str) -> dict[str, str]:
    """Return a user's flags as a dictionary, whether written ``--key value`` or ``--key=value``, with dashes or not.

    Words are a shell's, as bin/lib/settings.bash has them: quotes hold white space.

    Raises:
        UserError: a quote lacks its end.
    """
    try:
        words = shlex.split(text)
    except ValueError:
        raise UserError(f"{text}: a quote lacks its end") from None
    parts = [part for word in words for part in (word.split("=", 1) if word.startswith("--") else [word])]
    return {key.replace("-", "_"): value for key, value in settings_of(parts).items()}


def changes(before: object, after: dict[str, Any]) -> str:
    """Say in words which of the deciding parts differ, for example ``settings changed (epochs: 3.0 -> 5.0)``."""
    if not isinstance(before, dict):
        return "it has no record of what made it"
    found = []
    for part, new in after.items():
        old: Any = before.get(part)
        if old == new:
            continue
        detail, name = "", named(part, old, new)
        if name != part:
            detail = f" ({old.get('revision', 'unknown')} -> {new.get('revision', 'unknown')})"
        elif isinstance(old, dict) and isinstance(new, dict) and part in ("settings", "versions"):
            keys = [key for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
            listed = ", ".join(f"{key}: {old.get(key, 'none')} -> {new.get(key, 'none')}" for key in keys)
            detail = f" ({listed})"
        found.append(f"{name} changed{detail}")
    return ", ".join(found) or "nothing changed"


def named(part: str, old: Any, new: Any) -> str:
    """Return what a part that has changed is called: of the same model on the hub it is the revision."""
    hubs = [each["hub"] for each in (old, new) if part == "model" and isinstance(each, dict) and "hub" in each]
    return "the base model's revision" if len(hubs) == 2 and hubs[0] == hubs[1] else part


def read_record(path: Path) -> dict[str, Any]:
    """Return a record, or {} when it is missing or damaged: then it proves nothing."""
    try:
        found = read_json(path)
    except (UserError, NotADirectoryError):
        return {}
    return found if isinstance(found, dict) else {}
