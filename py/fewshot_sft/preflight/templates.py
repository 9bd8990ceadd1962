"""LLaMA-Factory's chat templates, read from its source: importing it takes ten seconds."""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
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
    tokens: list[str] = field(default_factory=list)  # named as tokens among the pieces, not as text
    stop_words: list[str] = field(default_factory=list)  # the trainer makes them special tokens
    replace_eos: bool = False  # the first of them ends an answer
    reasoning: bool = False  # a thought comes before each answer
    plain: str = ""  # the same template without
    pictures: bool = False  # it takes pictures, too

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
    return {
        name: replace(slots, plain=f"{name}_nothink" * (f"{name}_nothink" in found)) for name, slots in found.items()
    }


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


def check_tokens(template: str, slots: Slots, tokenizer_file: Path, rows: int | None, resized: bool) -> Finding | None:
    """Return what is wrong when a template's special tokens are none of the model's; None where they are, or unknown.

    LLaMA-Factory adds those that it needs; without a row of the embedding for them each training ends with an
    IndexError.

    Args:
        template: its name.
        slots: its pieces.
        tokenizer_file: the model's ``tokenizer.json``.
        rows: of the model's embedding, None where they are not known.
        resized: TRAIN_ARGS gives the embedding more rows.
    """
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(tokenizer_file))
    except Exception:  # the library raises bare Exception; the lengths tell
        return None
    text = "".join(slot for slot in slots.pieces("", "", "") if isinstance(slot, str))
    added = [word for word in slots.stop_words if word in text]
    if slots.replace_eos:
        added = list(dict.fromkeys([*slots.stop_words[:1], *added]))
    missing = [word for word in (*slots.tokens, *added) if tokenizer.token_to_id(word) is None]
    written = [word for word in re.findall(r"<[|｜][^<>|｜\s]+[|｜]>", text) if tokenizer.token_to_id(word) is None]
    if not missing and not written:
        return None
    named = ", ".join(list(dict.fromkeys([*missing, *written]))[:3])
    fatal = set(missing) & set(slots.tokens) or (
        missing and not resized and (rows is None or tokenizer.get_vocab_size() + len(missing) > rows)
    )
    what = f"{template} is of another model: {named} {'is' if ',' not in named else 'are'} not in {tokenizer_file}"
    return Finding("template", "problem" if fatal else "warning", what, "set TEMPLATE to the model's own")


def check_pictures(template: str, slots: Slots, folder: Path) -> Finding | None:
    """Return what is wrong when the template takes pictures and the model does not: each training and answer fails.

    Args:
        template: its name.
        slots: its pieces.
        folder: the model's.
    """
    if not slots.pictures or any((folder / f"{name}_config.json").is_file() for name in ("preprocessor", "processor")):
        return None
    what = f"{template} takes pictures, too, and {folder} has no preprocessor_config.json for them"
    return Finding("template", "problem", what, "set TEMPLATE to the model's own; of Gemma 3 270M and 1B it is gemma2")


def _slots(keywords: dict[str, ast.expr]) -> Slots:
    # As register_template fills in what is not given. With efficient_eos the trainer appends the end itself.
    assistant = _of(keywords.get("format_assistant")) or [CONTENT, 1]
    if _literal(keywords.get("efficient_eos")) and 1 not in assistant:
        assistant = [*assistant, 1]
    return Slots(
        prefix=_of(keywords.get("format_prefix")),
        system=_of(keywords.get("format_system")) or [CONTENT],
        user=_of(keywords.get("format_user")) or [CONTENT],
        assistant=assistant,
        tokens=[
            slot["token"]
            for part in ("prefix", "system", "user", "assistant")
            for slot in _given(keywords.get(f"format_{part}"))
            if isinstance(slot, dict) and "token" in slot
        ],
        stop_words=_literal(keywords.get("stop_words")) or [],
        replace_eos=bool(_literal(keywords.get("replace_eos"))),
        reasoning="Reasoning" in ast.unparse(keywords.get("template_class", ast.Constant(""))),
        pictures="mm_plugin" in keywords and "'base'" not in ast.unparse(keywords["mm_plugin"]),
    )


def _literal(given: ast.expr | None) -> Any:
    try:
        return ast.literal_eval(given) if given else None
    except ValueError:
        return None


def _of(formatter: ast.expr | None) -> list[Slot]:
    """Return the slots of ``StringFormatter(slots=[...])``, none when they are not literal."""
    # {"bos_token"} and {"token": "<x>"} each stand for one token.
    return [slot if isinstance(slot, str) else 1 for slot in _given(formatter)]


def _given(formatter: ast.expr | None) -> list[Any]:
    if not isinstance(formatter, ast.Call):
        return []
    return _literal(next((keyword.value for keyword in formatter.keywords if keyword.arg == "slots"), None)) or []
