"""Instruction data (TASK=generation): rows of Alpaca's or ShareGPT's form as an instruction, an input and an output.

The instruction is the system turn and the input the user's turn, as the rest of the project has them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..errors import UserError

# What the parts of a turn are called: ShareGPT's names, and OpenAI's.
TURNS = {"conversations": ("from", "value"), "messages": ("role", "content")}
ROLES = {"system": "system", "human": "human", "user": "human", "gpt": "answer", "assistant": "answer"}

Row = tuple[str | None, str | None, str | None]  # instruction, input, output
Reader = Callable[[Mapping[str, Any], str], Row]


def reader_of(names: Mapping[str, Any]) -> Reader | None:
    """Return what reads a row with these columns; None where they are of neither form."""
    for column, keys in TURNS.items():
        if column in names:
            return lambda row, where: _first_exchange(row.get(column), keys, row.get("system"), where)
    return _alpaca if {"instruction", "output"} <= set(names) else None


def _alpaca(row: Mapping[str, Any], where: str) -> Row:
    instruction, given, output = (_text(row.get(key), where, key) for key in ("instruction", "input", "output"))
    # Without an input the instruction is all that is said: the user's turn.
    return (instruction, given, output) if (given or "").strip() else ("", instruction, output)


def _first_exchange(turns: object, keys: tuple[str, str], system: object, where: str) -> Row:
    """Return the system message, the first question and its answer; what follows is left out."""
    if not isinstance(turns, list) or not all(isinstance(turn, Mapping) for turn in turns):
        raise UserError(f'{where}: the conversation is no list of {{"{keys[0]}": ..., "{keys[1]}": ...}}')
    found: dict[str, str | None] = {"system": _text(system, where, "system")}
    for turn in turns:
        role = ROLES.get(str(turn.get(keys[0])))
        if role is None:
            raise UserError(f"{where}: a turn from {turn.get(keys[0])!r:.40}; known are {', '.join(ROLES)}")
        if role == "answer" and "human" not in found:  # it begins in the middle
            continue
        if found.get(role) is None:
            found[role] = _text(turn.get(keys[1]), where, keys[1])
        if role == "answer":
            break
    return found["system"] or "", found.get("human"), found.get("answer")


def _text(value: object, where: str, name: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise UserError(f"{where}: {name} is not a string but {value!r:.40}")
    return value
