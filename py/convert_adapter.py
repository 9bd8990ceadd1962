"""Make an adapter loadable by vLLM: split the modules that the trainer's model fuses and vLLM knows by their parts.

    python py/convert_adapter.py --adapter saves/GLM-4-9B-Chat/lora/glm4-9b-chat-llm_train_100

GLM-4 has one projection `gate_up_proj` where vLLM expects the adapters of `gate_proj` and `up_proj`. The split is
exact: both get the same lora_A, and lora_B's rows are divided, gate first. The result is `<adapter>/vllm/`; an adapter
that needs no conversion gets none, and is served as it is.
"""

from __future__ import annotations

import argparse
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fewshot_sft.errors import UserError
from fewshot_sft.jsonio import read_json, write_json
from fewshot_sft.program import run

if TYPE_CHECKING:
    import torch

# Fused module -> its parts, in the order of the rows (transformers' GlmMLP and Glm4MLP: `gate, up = chunk(2)`).
FUSED = {"gate_up_proj": ("gate_proj", "up_proj")}
FOLDER = "vllm"


def split(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return a peft adapter's tensors with every fused module split into its parts.

    Args:
        tensors: name -> weight; lora_A is (rank, in), lora_B is (out, rank).

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
        pieces = tensor.chunk(len(parts)) if found[2] == "lora_B" else [tensor] * len(parts)
        for part, piece in zip(parts, pieces, strict=True):
            result[name.replace(f".{found[1]}.", f".{part}.")] = piece.contiguous().clone()
    return result


def split_modules(config: dict[str, Any]) -> dict[str, Any]:
    """Return an adapter's configuration with the parts in place of each fused target module."""
    modules = config.get("target_modules")
    if not isinstance(modules, list) or not FUSED.keys() & set(modules):
        return config
    named = [part for module in modules for part in FUSED.get(module, (module,))]
    return config | {"target_modules": sorted(set(named))}


def main(argv: list[str]) -> int:
    """Convert ``--adapter`` into its folder ``vllm`` when it has fused modules."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adapter", type=Path, required=True)
    args = parser.parse_args(argv)
    target = args.adapter / FOLDER
    shutil.rmtree(target, ignore_errors=True)
    config = read_json(args.adapter / "adapter_config.json")
    changed = split_modules(config)
    if changed == config:
        return 0
    from safetensors.torch import load_file, save_file  # torch: only when there is something to convert

    tensors = split(load_file(str(args.adapter / "adapter_model.safetensors")))
    target.mkdir()
    save_file(tensors, str(target / "adapter_model.safetensors"), metadata={"format": "pt"})
    write_json(target / "adapter_config.json", changed)  # last: without it, no adapter is there
    return 0


if __name__ == "__main__":
    run(main)
