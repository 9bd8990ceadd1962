"""The prompt: one instruction per data set, one document per item. Training, serving and evaluation share it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import UserError
from .readers import read_text

PLACEHOLDER = "{categories}"
INSTRUCTION_TEMPLATE = (
    "You are a document classifier. When given the text, you classify the text into one of the following categories:"
    '\n\n{categories}\n"Unknown"\n\n'
    "Your output should only contain one of the categories and no explanation or any other text."
)
DOCUMENT_PREFIX = "Classify the document:\n"


def render_instruction(labels: Sequence[str], template: str = INSTRUCTION_TEMPLATE) -> str:
    """Return the instruction (the system turn): the template with one quoted category a line."""
    # Labels hold no double quote, so nothing needs escaping.
    return template.replace(PLACEHOLDER, "\n".join(f'"{label}"' for label in labels))


def alpaca_row(text: str, label: str, instruction: str) -> dict[str, str]:
    """Return one Alpaca item: ``instruction``, ``input`` and ``output``, in this order."""
    return {"instruction": instruction, "input": DOCUMENT_PREFIX + text, "output": label}


def read_template(path: Path | None) -> str:
    """Return the template in a file (without line ends at its end), or the default when ``path`` is None.

    Raises:
        UserError: the file cannot be read, or does not hold ``{categories}`` exactly once.
    """
    if path is None:
        return INSTRUCTION_TEMPLATE
    template = read_text(path).rstrip("\n")
    if template.count(PLACEHOLDER) != 1:
        raise UserError(
            f"{path}: holds {PLACEHOLDER} {template.count(PLACEHOLDER)} times; the list of categories goes in its "
            f"place, so write it exactly once"
        )
    return template
