"""How many tokens a server takes: 4096, as `llamafactory-cli api` with vLLM has it, or the model's limit if less."""

from __future__ import annotations

from math import inf
from pathlib import Path

from ..identity import flags_of, read_record
from ..settings import Settings
from .choice import MODEL_LENGTH

# Of config.json, the least of which vLLM takes for the model's limit (ModelArchConfigConvertorBase).
LIMITS = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "seq_length",
    "max_target_positions",
    "max_sequence_length",
    "max_seq_length",
    "seq_len",
)
OVER_ALL = "model_max_length"  # which counts instead, where it is there
IN_THE_LIMIT = ("su", "longrope", "llama3")  # kinds of rope scaling whose factor is


def of_model(folder: Path | None) -> float:
    """Return the most tokens of a folder's model, as vLLM has them; infinite where its config.json does not tell."""
    config = read_record(folder / "config.json") if folder else {}
    nested = config.get("text_config")
    text = nested if isinstance(nested, dict) else config
    limits = [text[key] for key in LIMITS if isinstance(text.get(key), int | float)]
    most: float = text.get(OVER_ALL) or min(limits, default=inf)
    rope = text.get("rope_parameters") or text.get("rope_scaling") or {}
    # For each kind of layer where they differ.
    for each in (rope, *(value for value in rope.values() if isinstance(value, dict))):
        kind, factor = each.get("rope_type", each.get("type")), each.get("factor")
        if factor and kind not in IN_THE_LIMIT:
            most = each.get("original_max_position_embeddings", most) if kind == "yarn" else most
            return int(most * factor) if most < inf else inf
    return most


def served(folder: Path | None) -> int:
    """Return the most tokens that the server is started for, unless SERVER_ARGS tells it; the folder is the model's."""
    return int(min(MODEL_LENGTH, of_model(folder)))


def context(settings: Settings, folder: Path | None) -> int:
    """Return how many tokens the server takes: its own limit (SERVER_ARGS may set it), or the model's if less."""
    flags = flags_of(settings.server_args)
    given = flags.get("max_model_len" if settings.server == "vllm" else "vllm_maxlen", "")
    return int(min(int(given), of_model(folder))) if given.isdecimal() else served(folder)
