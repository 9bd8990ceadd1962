"""The data set on a hub: whether it is there and may be fetched, in one request."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from . import Finding
from .machine import datasets_cache
from .model import TIMEOUT, is_offline, modelscope_cache, unreachable

CHECK = "data set"
OR_ELSE = "or TRAIN_FILE to a file of yours"


def check_hugging_face(name: str, endpoint: str, environment: Mapping[str, str]) -> Finding:
    """Check that a data set of Hugging Face's hub is in a cache, or can be fetched from ``endpoint``."""
    import huggingface_hub.constants  # imported here: local data do without it

    owner, _, rest = name.rpartition("/")
    folders = [Path(huggingface_hub.constants.HF_HUB_CACHE) / f"datasets--{name.replace('/', '--')}"]
    if (cache := datasets_cache(environment)).is_dir():
        # The package `datasets` writes CamelCase as snake_case.
        wanted = f"{owner}___{rest}" if owner else rest
        folders += [path for path in cache.iterdir() if _plain(path.name) == _plain(wanted)]
    if any(folder.is_dir() for folder in folders):
        return Finding(CHECK, "ok", f"{name} is in the cache")
    if is_offline(environment, "HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        what = f"{name} is not in the cache and HF_HUB_OFFLINE or HF_DATASETS_OFFLINE forbids to fetch it"
        return Finding(
            CHECK, "problem", what, "fetch it where there is a network, or set TRAIN_FILE to a file of yours"
        )
    try:
        info = huggingface_hub.HfApi(endpoint=endpoint).dataset_info(name, timeout=TIMEOUT)
    except Exception as error:  # whatever the client raises: a dozen types over three libraries
        return unreachable(name, endpoint, error, CHECK, "DATASET", OR_ELSE)
    if info.gated and not huggingface_hub.get_token():
        what = f"{name} is given only to those who accept its terms"
        mend = f"accept them on {endpoint}/datasets/{name}, then set HF_TOKEN to a token of yours"
        return Finding(CHECK, "problem", what, mend)
    return Finding(CHECK, "ok", f"{name} can be fetched from {endpoint}")


def check_modelscope(name: str, endpoint: str, cache: Path | None = None) -> Finding:
    """Check that a data set of ModelScope's hub is in the cache, or is known to ``endpoint``."""
    import urllib.request  # imported here, for 50 ms: local data do without it

    cache = cache or modelscope_cache()
    if any((folder / name).is_dir() for folder in (cache / "hub/datasets", cache / "datasets")):
        return Finding(CHECK, "ok", f"{name} is in the cache")
    try:
        with urllib.request.urlopen(f"{endpoint}/api/v1/datasets/{name}", timeout=TIMEOUT) as answer:
            answer.read(1)
    except (OSError, ValueError) as error:
        return unreachable(name, endpoint, error, CHECK, "DATASET", OR_ELSE)
    return Finding(CHECK, "ok", f"{name} can be fetched from {endpoint}")


def _plain(name: str) -> str:
    return name.replace("_", "").lower()
