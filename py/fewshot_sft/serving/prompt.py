"""What a client must know of the server's prompt: its template, and which tokens end an answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import UserError
from ..jsonio import read_json
from ..settings import Settings


def template_file(settings: Settings) -> Path:
    """Return the chat template that py/chat_template.py writes for `vllm serve`."""
    return Path(settings["SAVES_DIR"]) / settings["MODEL_NAME"] / f"{settings['TEMPLATE']}.jinja"


def compared(settings: Settings) -> list[dict[str, Any]]:
    """Return ``{"messages", "tokens"}`` of some prompts, as trained, from the record beside the template."""
    return list(read_json(template_file(settings).with_suffix(".json"))["prompts"])


def stop_token_ids(settings: Settings) -> tuple[int, ...]:
    """Return the ids that a client has to send along to end an answer, from the record beside the template.

    `llamafactory-cli api` knows them itself; `vllm serve` knows only the tokenizer's own end.

    Raises:
        UserError: there is no such record.
    """
    if settings["SERVER"] != "vllm":
        return ()
    path = template_file(settings).with_suffix(".json")
    found = read_json(path)
    try:
        return tuple(int(each) for each in found["stop_token_ids"])
    except (TypeError, KeyError, ValueError):
        raise UserError(
            f"{path}: not the record of a chat template; remove it and run the same command again"
        ) from None
