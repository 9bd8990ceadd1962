"""What all sessions of the page share: settings, and the one server of the adapters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import UserError
from ..settings import Settings
from .model_server import ModelServer


@dataclass
class Shared:
    """Of the program that shows the page."""

    settings: Settings
    sweeps: Sequence[Settings]  # whose runs can be chosen, of one test set
    server: ModelServer


_shared: list[Shared] = []


def begin(settings: Settings) -> None:
    """Let the page have these settings.

    Raises:
        UserError: of MODELS none has a sweep that has begun.
    """
    _shared[:] = [Shared(settings, sweeps_of(settings), ModelServer(settings))]


def sweeps_of(settings: Settings) -> list[Settings]:
    """Return the settings: of MODELS those that each model's sweep was run with, as far as it has begun.

    Raises:
        UserError: none has.
    """
    if not settings.models:
        return [settings]
    files = [settings.but(SWEEP_NAME=f"{settings.sweep_name}-{model}").kept for model in settings.models.split()]
    found = [Settings.read(file) for file in files if file.is_file()]
    if not found:
        raise UserError(f"{files[0]}: no such file; run bin/sweep.sh with the same MODELS first")
    return found


def shared() -> Shared:
    """Return what :func:`begin` began."""
    return _shared[0]
