"""LLaMA-Factory's register of data sets: ``dataset_info.json``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..jsonio import read_json

FILE = "dataset_info.json"
# The instruction is the system turn, as it is when serving. LLaMA-Factory's default for Alpaca files joins
# instruction and input into one user turn, a prompt that the evaluated model would never see.
COLUMNS = {"system": "instruction", "prompt": "input", "response": "output"}


def read(path: Path) -> dict[str, Any]:
    """Return the register, empty when there is no file yet.

    Raises:
        UserError: the file is not JSON, or is not an object.
    """
    if not path.exists():
        return {}
    register = read_json(path)
    if not isinstance(register, dict):
        raise UserError(f"{path}: expected an object of data set name -> entry; correct it or move it away")
    return register


def register(existing: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return the register with an entry for each ``<name>.json`` of ours, all other entries and the order as before."""
    return existing | {name: {"file_name": f"{name}.json", "columns": dict(COLUMNS)} for name in names}
