"""Adapters that vLLM can load: the modules that the trainer's model fuses are split into the parts that vLLM knows.

GLM-4 has one projection ``gate_up_proj`` where vLLM expects the adapters of ``gate_proj`` and ``up_proj``. The split is
exact: both get the same lora_A, and lora_B's rows are divided, gate first.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import UserError
from ..jsonio import read_json, write_json

# Fused module -> its parts, in the order of the rows (transformers' GlmMLP and Glm4MLP: `gate, up = chunk(2)`).
FUSED = {"gate_up_proj": ("gate_proj", "up_proj")}
FOLDER = "vllm"


def for_vllm(adapter: Path) -> Path:
    """Return the folder of an adapter that vLLM can load: ``<adapter>/vllm``, made anew, or the adapter as it is.

    Raises:
        UserError: it cannot be split, or is damaged.
    """
    target = adapter / FOLDER
    shutil.rmtree(target, ignore_errors=True)
    config = read_json(adapter / "adapter_config.json")
    changed = split_modules(config)
    if changed == config:
        return adapter
    tensors = split(_read(adapter / "adapter_model.safetensors"))
    target.mkdir()
    (target / "adapter_model.safetensors").write_bytes(_safetensors(tensors))
    write_json(target / "adapter_config.json", changed)  # last: without it, no adapter is there
    return target


class Tensor(NamedTuple):
    """One tensor of a safetensors file, as its bytes: PyTorch would cost seconds and a third of a gigabyte."""

    dtype: str
    shape: list[int]
    data: bytes


def split(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a peft adapter's tensors with every fused module split into its parts.

    Args:
        tensors: name -> weight; lora_A is (rank, in), lora_B is (out, rank), row by row.

    Raises:
        UserError: a fused module has tensors that cannot be split (bias, DoRA's magnitude).
    """
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
        for number, part in enumerate(parts):
            piece = tensor
            if found[2] == "lora_B":
                rows, size = tensor.shape[0] // len(parts), len(tensor.data) // len(parts)
                data = tensor.data[number * size : (number + 1) * size]
                piece = Tensor(tensor.dtype, [rows, *tensor.shape[1:]], data)
            result[name.replace(f".{found[1]}.", f".{part}.")] = piece
    return result


def split_modules(config: dict[str, Any]) -> dict[str, Any]:
    """Return an adapter's configuration with the parts in place of each fused target module."""
    modules = config.get("target_modules")
    if not isinstance(modules, list) or not FUSED.keys() & set(modules):
        return config
    named = [part for module in modules for part in FUSED.get(module, (module,))]
    return config | {"target_modules": sorted(set(named))}


def _read(path: Path) -> dict[str, Tensor]:
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header.pop("__metadata__", None)
    return {
        name: Tensor(each["dtype"], each["shape"], content[slice(*(start + end for end in each["data_offsets"]))])
        for name, each in header.items()
    }


def _safetensors(tensors: dict[str, Tensor]) -> bytes:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, tensor in tensors.items():
        begin, end = end, end + len(tensor.data)
        header[name] = {"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(tensor.data for tensor in tensors.values())
