"""What the base model is loaded from, for all programs of ours that load it and for `vllm serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import hub
from .errors import UserError
from .preflight import model
from .settings import Settings

LOCK = "~/.cache/llamafactory/modelscope.lock"  # LLaMA-Factory's, held while it downloads


def source(settings: Settings) -> str:
    """Return what transformers and vLLM load MODEL from: a folder, or the name on Hugging Face's hub, which they ask.

    Of ModelScope's hub it is the folder in its cache that LLaMA-Factory trains from; what is not there is downloaded.

    Raises:
        UserError: it is not there, and ModelScope does not give it.
    """
    name = settings["MODEL"]
    if not settings.use_modelscope_hub or not hub.is_name(name):
        return name
    from huggingface_hub.utils import WeakFileLock

    with WeakFileLock(Path(LOCK).expanduser()):
        # Not asked where all is there: without a network it would not answer, but fail.
        for folder in model.modelscope_folders(name):
            if folder.is_dir() and model.check_folder(folder, "all")[0].result == "ok":
                return str(folder)
        try:
            from modelscope import snapshot_download

            return str(snapshot_download(name))
        except Exception as error:  # whatever the client raises: a dozen types over three libraries
            why = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise UserError(
                f"{name} is not whole in the cache and ModelScope does not give it ({why}); check MODEL and the "
                "network, or set MODEL to a folder"
            ) from None


def load(kind: Any, settings: Settings, **more: Any) -> Any:
    """Return the base model or its tokenizer, as ``kind`` of transformers' Auto classes; code of its own needs
    TRUST_REMOTE_CODE=1.

    Raises:
        UserError: :func:`source` does.
        OSError, ValueError: it cannot be loaded.
    """
    trusted = settings["TRUST_REMOTE_CODE"] == "1"
    revision = settings.model_commit or "main"
    return kind.from_pretrained(source(settings), revision=revision, trust_remote_code=trusted, **more)
