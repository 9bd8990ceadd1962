"""Adapters that vLLM can load: the modules that the trainer's model fuses are split into the parts that vLLM knows.

GLM-4 has one projection ``gate_up_proj`` where vLLM expects the adapters of ``gate_proj`` and ``up_proj``. The split is
exact: both get the same lora_A, and lora_B's rows are divided, gate first.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..jsonio import read_json, write_bytes, write_json
from .weights import adapter_tensors

# Fused module -> its parts, in the order of the rows (transformers' GlmMLP and Glm4MLP: `gate, up = chunk(2)`).
FUSED = {"gate_up_proj": ("gate_proj", "up_proj")}
FOLDER = "vllm"


def for_vllm(adapter: Path) -> Path:
    """Return the folder of an adapter that vLLM can load: ``<adapter>/vllm``, made anew, or the adapter as it is.

    Raises:
        UserError: it cannot be split, or is damaged.
    """
    from safetensors.numpy import save  # imported here: most evaluations do without it

    config = read_json(adapter / "adapter_config.json")
    changed = split_modules(config)
    target = adapter / FOLDER
    if changed == config:
        shutil.rmtree(target, ignore_errors=True)
        return adapter
    # Each file whole or not at all: a server may be loading what was made of it before.
    write_bytes(target / "adapter_model.safetensors", save(split(adapter_tensors(adapter)), {"format": "pt"}))
    write_json(target / "adapter_config.json", changed)  # last: without it, no adapter is there
    return target


def split(tensors: dict[str, Any]) -> dict[str, Any]:
    """Return a peft adapter's tensors with every fused module split into its parts.

    Args:
        tensors: name -> numpy array; lora_A is (rank, in), lora_B is (out, rank).

    Raises:
        UserError: a fused module has tensors that cannot be split (bias, DoRA's magnitude).
    """
    import numpy as np

    result = {}
    for name, tensor in tensors.items():
        found = re.search(rf"\.({'|'.join(FUSED)})\.(lora_[AB])\.", name)
        if found is None:
            if any(f".{fused}." in name for fused in FUSED):
                raise UserError(
                    f"{name}: cannot be split for vLLM; train without DoRA and bias, or use BACKEND=huggingface"
                )
            result[name] = tensor
            continue
        parts = FUSED[found[1]]
        pieces = np.split(tensor, len(parts)) if found[2] == "lora_B" else [tensor] * len(parts)
        result |= {name.replace(f".{found[1]}.", f".{part}."): each for part, each in zip(parts, pieces, strict=True)}
    return result


def split_modules(config: dict[str, Any]) -> dict[str, Any]:
    """Return an adapter's configuration with the parts in place of each fused target module."""
    modules = config.get("target_modules")
    # Phi-3 fuses its attention, too: vLLM knows its modules as they are.
    if not isinstance(modules, list) or not FUSED.keys() & set(modules) or "qkv_proj" in modules:
        return config
    named = [part for module in modules for part in FUSED.get(module, (module,))]
    return config | {"target_modules": sorted(set(named))}
