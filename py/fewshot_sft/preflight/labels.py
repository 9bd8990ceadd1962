"""Whether each label can come back from the model as it went in, by the model's own tokenizer and template."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..jsonio import read_json
from ..text import clean_up, comparable
from . import Finding, Result
from .templates import CONTENT, Slots

PLACEHOLDERS = ("<image>", "<video>", "<audio>")  # LLaMA-Factory's, in the texts of templates that take pictures
RENAME = 'give it another name with LABELS_FILE=names.json: {"<label in the data>": "<name>", ...}'
SAID = 3


def check(
    labels: Sequence[str], tokenizer_file: Path | None, slots: Slots | None, max_tokens: int, cleans: bool
) -> list[Finding]:
    """Encode and decode each label as trainer and server do, and compare as the evaluation does.

    Args:
        labels: as they are trained.
        tokenizer_file: the model's ``tokenizer.json``.
        slots: the template's.
        max_tokens: the server's limit of an answer.
        cleans: the server cleans up the spaces in what it decodes.
    """
    unknown = "not checked whether they come back from the model: "
    if slots is None:  # which is said
        return [Finding("labels", "ok", f"{unknown}the template is not known")]
    if tokenizer_file is None:
        return [Finding("labels", "warning", f"{unknown}it has no tokenizer.json here")]
    try:
        tokenizer = _load(tokenizer_file, slots)
        found = {label: _there_and_back(label, tokenizer, slots, cleans) for label in labels}
    except Exception as error:  # the tokenizers library raises bare Exception for a file that it cannot read
        return [Finding("labels", "warning", f"{unknown}{tokenizer_file}: {error}")]
    of = f"of the {len(labels)} labels"
    lost = {label: back for label, (back, _) in found.items() if comparable(back) != comparable(label)}
    long = {label: count for label, (_, count) in found.items() if count > max_tokens}
    findings = []
    if lost:
        told = ", ".join(f"{_quoted(label)} as {_quoted(back)}" for label, back in list(lost.items())[:SAID])
        what = (
            f"{len(lost)} {of} would come back from the model as something else: {told}{', ...' * (len(lost) > SAID)}"
        )
        findings.append(Finding("labels", "problem", what, RENAME, {"changed": lost}))
    if long:
        told = ", ".join(f"{_quoted(label)} has {count}" for label, count in list(long.items())[:SAID])
        what = f"{len(long)} {of} are longer than MAX_TOKENS={max_tokens} tokens: {told}{', ...' * (len(long) > SAID)}"
        mend = f"MAX_TOKENS={-(-(max(long.values()) + 1) // 8) * 8}"  # and the token that ends an answer
        findings.append(Finding("labels", "problem", what, mend, {"tokens": long}))
    longest = max(count for _, count in found.values())
    return findings or [Finding("labels", "ok", f"all {len(labels)} come back, the longest has {longest} tokens")]


def check_texts(
    files: Sequence[Path], tokenizer_file: Path | None, slots: Slots | None, template: str
) -> list[Finding]:
    """Look for what is more than text in the rows of Alpaca files: placeholders of pictures, special tokens."""
    findings = []
    looked_for: tuple[tuple[Collection[str], tuple[str, ...], Result, str, str], ...] = (
        (
            PLACEHOLDERS if slots and slots.pictures else (),
            ("input", "output"),
            "problem",
            f"which TEMPLATE={template} takes for pictures that are not there",
            "write it otherwise in the data, or set TEMPLATE to one for text only",
        ),
        (
            _special(tokenizer_file),
            ("instruction", "input"),
            "warning",
            "which the model reads as a special token, not as text",
            "write it otherwise in the data if it is not meant so",
        ),
    )
    for marks, fields, result, what, mend in looked_for:
        if not marks:
            continue
        pattern = re.compile("|".join(map(re.escape, sorted(marks, key=len, reverse=True))))
        for file in files:
            try:
                texts = ["\n".join(row[field] for field in fields) for row in read_json(file)]
            except (UserError, KeyError, TypeError):
                continue  # the lengths tell
            hits = [(number, match[0]) for number, text in enumerate(texts, 1) if (match := pattern.search(text))]
            if hits:
                of = f"{len(hits)} of the {len(texts)} texts of {file}"
                message = f"{of} hold a piece like {hits[0][1]} (row {hits[0][0]}), {what}"
                findings.append(Finding("texts", result, message, mend))
    return findings or [Finding("texts", "ok", "no special tokens or placeholders were found in them")]


def _load(file: Path, slots: Slots) -> Any:
    from tokenizers import Tokenizer  # not AutoTokenizer: that is seconds of imports

    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.add_special_tokens(slots.stop_words)  # as LLaMA-Factory does
    return tokenizer


def _there_and_back(label: str, tokenizer: Any, slots: Slots, cleans: bool) -> tuple[str, int]:
    """Return what an answer of the label's own tokens is decoded to, and how many they are."""
    ids: list[int] = []
    for slot in slots.assistant:
        if isinstance(slot, str):
            before, content, _ = slot.partition(CONTENT)
            ids += tokenizer.encode(before + (label if content else ""), add_special_tokens=False).ids
            if content:
                break
    back = tokenizer.decode(ids, skip_special_tokens=True)
    return (clean_up(back) if cleans else back).strip(), len(ids)


def _special(tokenizer_file: Path | None) -> tuple[str, ...]:
    """Return the special tokens of a tokenizer, none where it cannot be read."""
    if tokenizer_file is None:
        return ()
    try:
        added = read_json(tokenizer_file).get("added_tokens") or ()
        return tuple(each["content"] for each in added if each.get("special") and each["content"].strip())
    except (UserError, AttributeError, KeyError, TypeError):
        return ()


def _quoted(label: str) -> str:
    label = label if len(label) <= 40 else f"{label[:39]}…"
    return json.dumps(label, ensure_ascii=False)
