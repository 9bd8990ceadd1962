"""What a small base model gets by default: its hidden states and label scores cost little on any machine."""

from __future__ import annotations

from ..errors import UserError
from ..preflight import model
from ..settings import Settings
from . import facts

SMALL = 1e9  # parameters


def is_small(settings: Settings) -> bool:
    """Return whether the base model is known to have fewer parameters than that."""
    folder = facts.model_folder(settings)
    try:
        parameters = model.size_of(folder, settings.lora_target).parameters if folder else None
    except UserError:
        return False
    return parameters is not None and 0 < parameters < SMALL
