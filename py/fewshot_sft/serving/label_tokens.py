"""The labels' tokens as the trained prompt has them, ``objs/<sweep>/label_tokens.json``: made once for all clients."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import base_model
from ..errors import UserError
from ..identity import read_record
from ..jsonio import sha256_json, write_json
from ..provenance import versions
from ..settings import Settings
from .weights import tokenizer_identity


def file_of(settings: Settings) -> Path:
    """Return the record's path."""
    return Path(settings["OBJS_DIR"]) / settings["SWEEP_NAME"] / "label_tokens.json"


def decides(settings: Settings, labels: Sequence[str]) -> dict[str, Any]:
    """Return what the tokens depend on."""
    return {
        "labels": list(labels),
        "template": settings["TEMPLATE"],
        "tokenizer": tokenizer_identity(settings["MODEL"], settings.model_commit),
        "versions": versions(("llamafactory", "transformers")),
    }


def is_current(settings: Settings, labels: Sequence[str]) -> bool:
    """Return whether the record is there, of these labels, this template and tokenizer."""
    return read_record(file_of(settings)).get("identity") == sha256_json(decides(settings, labels))


def write(settings: Settings, labels: Sequence[str], template: Any, tokenizer: Any) -> None:
    """Write the record; where the labels have no tokens of their own, it says why.

    Args:
        settings: of the sweep.
        labels: in the order of the manifest.
        template, tokenizer: from LLaMA-Factory's ``get_template_and_fix_tokenizer``.
    """
    known = decides(settings, labels)
    head = {"schema": 1, "kind": "label tokens", "identity": sha256_json(known), **known}
    try:
        ends = sorted(template.get_stop_token_ids(tokenizer))
        found: dict[str, Any] = {"tokens": tokens(labels, template, tokenizer), "ends": ends}
    except UserError as error:
        found = {"absent": str(error)}
    write_json(file_of(settings), head | found)


def template_of(settings: Settings) -> tuple[Any, Any]:
    """Return LLaMA-Factory's template and the model's tokenizer, which has what the template needs."""
    from llamafactory.data.template import get_template_and_fix_tokenizer
    from llamafactory.hparams import DataArguments
    from transformers import AutoTokenizer

    tokenizer = base_model.load(AutoTokenizer, settings)
    return get_template_and_fix_tokenizer(tokenizer, DataArguments(template=settings["TEMPLATE"])), tokenizer


def tokens(labels: Sequence[str], template: Any, tokenizer: Any) -> list[list[int]]:
    """Return what follows the prompt in a training example of each label, up to the end of the answer.

    Raises:
        UserError: a label has no token, or the same ones as another.
    """
    ends = set(template.get_stop_token_ids(tokenizer))

    def encode(answer: str) -> tuple[list[int], list[int]]:
        turns = [{"role": "user", "content": "text"}, {"role": "assistant", "content": answer}]
        return template.encode_oneturn(tokenizer, turns, None)

    asked = list(encode("")[0])
    found: dict[tuple[int, ...], str] = {}
    for label in labels:
        prompt, answer = encode(label)
        example = [*prompt, *answer]
        own = example[len(asked) :]
        own = own[: next((place for place, token in enumerate(own) if token in ends), len(own))]
        if example[: len(asked)] != asked or not own:
            raise UserError(f"the template writes the label {label!r} without a token of its own")
        if tuple(own) in found:
            raise UserError(f"the labels {found[tuple(own)]!r} and {label!r} are the same to the model's tokenizer")
        found[tuple(own)] = label
    return [list(each) for each in found]


def read(settings: Settings, labels: Sequence[str]) -> tuple[tuple[tuple[int, ...], ...], tuple[int, ...]]:
    """Return the tokens of each label and those that end an answer.

    Raises:
        UserError: there are none, with the reason.
    """
    path = file_of(settings)
    record = read_record(path)
    if "absent" in record and record.get("labels") == list(labels):
        raise UserError(str(record["absent"]))
    try:
        if record["labels"] != list(labels):
            raise ValueError("other labels")
        found = tuple(tuple(int(token) for token in each) for each in record["tokens"])
        return found, tuple(int(token) for token in record["ends"])
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{path} has no tokens of these labels") from None
