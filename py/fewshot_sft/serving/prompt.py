"""What a client must know of the server's prompt: whose it is, and which tokens end an answer."""

from __future__ import annotations

from pathlib import Path

from ..errors import UserError
from ..jsonio import read_json

SERVERS = ("llamafactory", "vllm")  # `llamafactory-cli api`, `vllm serve`


def stop_token_ids(template: Path) -> list[int]:
    """Return the ids that end an answer, from the record beside a template of py/chat_template.py.

    `llamafactory-cli api` knows them itself; `vllm serve` knows only the tokenizer's own end.

    Raises:
        UserError: there is no such record.
    """
    path = template.with_suffix(".json")
    found = read_json(path)
    try:
        return [int(each) for each in found["stop_token_ids"]]
    except (TypeError, KeyError, ValueError):
        raise UserError(
            f"{path}: not the record of a chat template; remove it and run the same command again"
        ) from None
