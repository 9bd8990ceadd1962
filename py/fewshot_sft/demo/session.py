"""What all sessions of the page share: settings, and the one server of the adapters."""

from __future__ import annotations

from dataclasses import dataclass

from ..settings import Settings
from .model_server import ModelServer


@dataclass
class Shared:
    """Of the program that shows the page."""

    settings: Settings
    server: ModelServer


_shared: list[Shared] = []


def begin(settings: Settings) -> None:
    """Let the page have these settings."""
    _shared[:] = [Shared(settings, ModelServer(settings))]


def shared() -> Shared:
    """Return what :func:`begin` began."""
    return _shared[0]


def end() -> None:
    """End the server."""
    shared().server.close()
