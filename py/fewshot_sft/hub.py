"""Hugging Face's hub: whether a model is in its cache, whether the hub answers, and the download."""

from __future__ import annotations

import contextlib
import os
import re
import threading
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from .errors import UserError

HUB = "https://huggingface.co"
PATIENCE = 3.0  # seconds for the hub's first answer: behind a firewall its client would retry for minutes
FILES = ["*.json", "*.txt", "*.model", "*.safetensors", "*.jinja"]
COMMIT = re.compile("[0-9a-f]{40}")
# For the environment, before the libraries are imported: only lines of ours are shown.
QUIET = {"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "TQDM_DISABLE": "1"}
YES = ("1", "ON", "YES", "TRUE")  # as huggingface_hub reads a variable


def endpoint() -> str:
    """Return the hub's address: HF_ENDPOINT or Hugging Face's."""
    return (os.environ.get("HF_ENDPOINT") or HUB).rstrip("/")


def is_offline(environment: Mapping[str, str]) -> bool:
    """Return whether HF_HUB_OFFLINE forbids to ask the hub."""
    return environment.get("HF_HUB_OFFLINE", "").upper() in YES


def is_name(model: str) -> bool:
    """Return whether it is OWNER/NAME, and no folder."""
    return not model.startswith((".", "/", "~")) and model.count("/") == 1 and not Path(model).is_dir()


def commit(name: str, revision: str = "", address: str = "") -> str:
    """Return the commit that a model's revision is: by the hub, or where that does not answer by the cache.

    The cache keeps it, so that it is the same offline; config.json is fetched for that.

    Args:
        name: OWNER/NAME.
        revision: a branch, tag or commit; main when empty. Then an unknown commit is "".
        address: of the hub; :func:`endpoint` when empty.

    Raises:
        UserError: the hub, or offline the cache, does not have the revision.
    """
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.errors import RevisionNotFoundError

    address, wanted, cache, file = address or endpoint(), revision or "main", constants.HF_HUB_CACHE, "config.json"

    def in_cache() -> str:
        path = try_to_load_from_cache(name, file, cache_dir=cache, revision=wanted)
        return Path(path).parent.name if isinstance(path, str) else ""

    if COMMIT.fullmatch(wanted) and in_cache():
        return wanted
    fetch = f"fetch it where there is a network (hf download {name} --revision {wanted}), or check MODEL_REVISION"
    told = (f"{name}: revision {revision} is not in the cache and HF_HUB_OFFLINE=1 forbids to fetch it", fetch)
    if not is_offline(os.environ):
        try:
            # At once and once: where it fails, the download asks again for half a minute.
            get_hf_file_metadata(hf_hub_url(name, file, revision=wanted, endpoint=address), timeout=PATIENCE)
            path = hf_hub_download(
                name, file, revision=wanted, cache_dir=cache, endpoint=address, etag_timeout=PATIENCE
            )
            return Path(path).parent.name
        except RevisionNotFoundError:
            raise UserError(
                f"{address} has {name}, but not its revision {wanted}; set MODEL_REVISION to a branch, tag or commit "
                f"of {address}/{name}/commits/main"
            ) from None
        except Exception as error:  # whatever the client raises: a dozen types over three libraries
            why = (str(error).strip() or type(error).__name__).splitlines()[0]
            told = refusal(name, "model", "MODEL", error, address) or (
                f"{name}: revision {revision} is not in the cache and {address} does not answer ({why})",
                "check the network, or MODEL_REVISION",
            )
    if not (found := in_cache()) and revision:
        raise UserError("; ".join(told))
    return found


def cached(name: str) -> str | None:
    """Return a model's folder in the cache, None where its weights are not there."""
    with contextlib.suppress(Exception):  # whatever the client raises: a dozen types over three libraries
        folder = fetch(name, cached=True)
        return folder if any(Path(folder).glob("*.safetensors")) else None
    return None


def fetch(name: str, cached: bool = False) -> str:
    """Return a model's folder in the cache, downloaded as far as it is not there; with ``cached`` nothing is."""
    from huggingface_hub import snapshot_download

    return snapshot_download(name, allow_patterns=FILES, etag_timeout=PATIENCE, local_files_only=cached)


def answers(name: str) -> bool:
    """Whether the hub says in time that it has the model. In a thread, for a name server's silence has no timeout."""
    if is_offline(os.environ):
        return False
    answered = []

    def ask() -> None:
        with contextlib.suppress(OSError, ValueError):
            request = urllib.request.Request(f"{endpoint()}/{name}/resolve/main/config.json", method="HEAD")
            urllib.request.urlopen(request, timeout=PATIENCE).close()
            answered.append(True)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return bool(answered)


def refusal(path: str, what: str, setting: str, error: Exception, address: str = "") -> tuple[str, str] | None:
    """Return why the hub does not give something, and what mends it; None where ``error`` is no answer of the hub's.

    Args:
        path: the repository's page, ``OWNER/NAME`` or ``datasets/OWNER/NAME``.
        what: what it is.
        setting: the one that names it.
        error: what the client raised.
        address: of the hub that was asked; :func:`endpoint` when empty.
    """
    from huggingface_hub.errors import GatedRepoError

    address = address or endpoint()
    name = path.removeprefix("datasets/")
    status = getattr(error, "code", None) or getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, GatedRepoError):
        return gated(path, address)
    if status in (401, 403, 404):
        return (
            f"{address} has no {what} {name}, or not for you (HTTP {status})",
            f"check {setting}; for one that is private or gated set HF_TOKEN",
        )
    if status == 429:
        mend = (
            "wait a few minutes and run the same command again, or set HF_TOKEN to a token of yours, which may ask more"
        )
    else:
        mend = "run the same command again later, or set HF_ENDPOINT to a mirror"
    return (f"{name} is not in the cache and {address} does not answer (HTTP {status})", mend) if status else None


def gated(path: str, address: str) -> tuple[str, str]:
    """Return what :func:`refusal` does of what is given only to those who have asked for it."""
    name = path.removeprefix("datasets/")
    return (
        f"{name} is given only to those who accept its terms",
        f"accept them on {address}/{path}, then set HF_TOKEN to a token of yours",
    )
