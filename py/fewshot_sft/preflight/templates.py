"""LLaMA-Factory's chat templates, read from its source: importing it takes ten seconds."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from . import Finding

CONTENT = "{{content}}"
Slot = str | int
"""A piece of text, or a number of special tokens."""


@dataclass(frozen=True)
class Slots:
    """The pieces that a template puts around one example; each piece of text is tokenized by itself."""

    prefix: list[Slot]
    system: list[Slot]
    user: list[Slot]
    assistant: list[Slot]

    def pieces(self, system: str, user: str, assistant: str) -> Iterator[Slot]:
        """Yield the pieces of one training example."""
        turns = ((self.prefix, ""), (self.system, system), (self.user, user), (self.assistant, assistant))
        for slots, content in turns:
            for slot in slots:
                yield slot.replace(CONTENT, content) if isinstance(slot, str) else slot


def source() -> Path | None:
    """Return the file that registers LLaMA-Factory's templates, or None where it is not installed."""
    found = find_spec("llamafactory")
    for folder in (found.submodule_search_locations if found else None) or ():
        if (path := Path(folder) / "data/template.py").is_file():
            return path
    return None


def registered(path: Path) -> dict[str, Slots]:
    """Return all templates that a source file registers with ``register_template(name=...)``."""
    found = {}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "register_template":
            keywords = {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
            name = keywords.get("name")
            if isinstance(name, ast.Constant):
                found[str(name.value)] = _slots(keywords)
    return found


def check(template: str, templates: dict[str, Slots] | None) -> Finding:
    """Check that LLaMA-Factory knows the template; ``templates`` is None where its source was not found."""
    if templates is None:
        return Finding("template", "warning", "LLaMA-Factory's templates were not found, TEMPLATE is not checked")
    if template in templates:
        return Finding("template", "ok", f"{template} is known to LLaMA-Factory")
    close = difflib.get_close_matches(template, templates, n=3, cutoff=0.5) or ["glm4", "qwen", "llama3"]
    return Finding(
        "template",
        "problem",
        f"LLaMA-Factory has no template '{template}'",
        f"set TEMPLATE to the model's own; near it are {', '.join(close)}",
    )


def _slots(keywords: dict[str, ast.expr]) -> Slots:
    # As register_template fills in what is not given. With efficient_eos the trainer appends the end itself.
    assistant = _of(keywords.get("format_assistant")) or [CONTENT, 1]
    efficient = keywords.get("efficient_eos")
    if isinstance(efficient, ast.Constant) and efficient.value and 1 not in assistant:
        assistant = [*assistant, 1]
    return Slots(
        prefix=_of(keywords.get("format_prefix")),
        system=_of(keywords.get("format_system")) or [CONTENT],
        user=_of(keywords.get("format_user")) or [CONTENT],
        assistant=assistant,
    )


def _of(formatter: ast.expr | None) -> list[Slot]:
    """Return the slots of ``StringFormatter(slots=[...])``, none when they are not literal."""
    if not isinstance(formatter, ast.Call):
        return []
    given = next((keyword.value for keyword in formatter.keywords if keyword.arg == "slots"), None)
    try:
        slots: list[Any] = ast.literal_eval(given) if given else []
    except ValueError:
        return []
    # {"bos_token"} and {"token": "<x>"} each stand for one token.
    return [slot if isinstance(slot, str) else 1 for slot in slots]
