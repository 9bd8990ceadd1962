"""What a model is, whatever its path: a hash over the files that decide its answers."""

from __future__ import annotations

import hashlib
import os
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from .. import hub
from ..errors import UserError
from ..jsonio import sha256_file, sha256_json

MODEL_FILES = (
    "config.json",
    "generation_config.json",
    "*.safetensors",
    "pytorch_model*.bin",
    "*.model",
    "*.tiktoken",
    "tokenizer*.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "chat_template.*",
    "*.py",
)
TOKENIZER_FILES = (
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "*.model",
    "*.tiktoken",
)
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")
# A file above this is hashed by samples: full training changes weights everywhere, and 18 GB take a minute to read.
WHOLE = 64 << 20
BLOCK = 1 << 20


def model_identity(model: str, commit: str = "") -> dict[str, str]:
    """Return ``{"sha256": ...}`` of a model's folder, or ``{"hub": name, "revision": commit}`` for a name on a hub.

    ModelScope's hub tells no commit; there is no ``revision`` then.

    Raises:
        UserError: it looks like a folder and there is none, or it holds no weights.
    """
    folder = Path(model)
    if folder.is_dir():
        return {"sha256": _identity(folder, MODEL_FILES, ("*.safetensors", "*.bin"), "a model")}
    if not hub.is_name(model):
        raise UserError(f"MODEL={model}: no such folder (nor a name on a hub, which is OWNER/NAME)")
    return {"hub": model, **({"revision": commit} if commit else {})}


def tokenizer_identity(model: str, commit: str = "") -> dict[str, str]:
    """Return the same of what makes a model's tokenizer: the hash of its files, or the name on the hub."""
    folder = Path(model)
    if not folder.is_dir():
        return model_identity(model, commit)
    names = [entry.name for entry in folder.iterdir() if any(fnmatch(entry.name, each) for each in TOKENIZER_FILES)]
    return {"sha256": sha256_json({name: sha256_file(folder / name) for name in sorted(names)})}


def adapter_identity(adapter: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a LoRA adapter: its weights and its configuration.

    Raises:
        UserError: there is no folder with an adapter; the message names it.
    """
    return _identity(Path(adapter), ADAPTER_FILES, ("adapter_model.*",), "an adapter; train it first (bin/train.sh)")


def adapter_tensors(folder: Path) -> dict[str, Any]:
    """Return an adapter's tensors as numpy arrays.

    Raises:
        UserError: there is no such file, or not all of it.
    """
    from safetensors import SafetensorError, numpy

    path = folder / "adapter_model.safetensors"
    try:
        try:
            return numpy.load_file(str(path))
        except (KeyError, TypeError, AttributeError):  # bf16, which numpy does not have; peft mostly keeps fp32
            from safetensors import torch  # seconds of imports

            return {name: tensor.float().numpy() for name, tensor in torch.load_file(str(path)).items()}
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: no adapter can be read ({error})") from None


def _identity(folder: Path, patterns: tuple[str, ...], weights: tuple[str, ...], what: str) -> str:
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_file()) if folder.is_dir() else []
    chosen = [name for name in names if any(fnmatch(name, pattern) for pattern in patterns)]
    if not any(fnmatch(name, pattern) for name in chosen for pattern in weights):
        raise UserError(f"{folder}: not the folder of {what}")
    return sha256_json({name: _sha256(folder / name) for name in chosen})


def _sha256(path: Path) -> str:
    size = path.stat().st_size
    if size <= WHOLE:
        return sha256_file(path)
    digest = hashlib.sha256(str(size).encode())
    blocks = WHOLE // BLOCK
    with path.open("rb") as stream:
        for block in range(blocks):
            stream.seek((size - BLOCK) * block // (blocks - 1))
            digest.update(stream.read(BLOCK))
    return digest.hexdigest()
