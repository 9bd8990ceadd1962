"""Which GPUs there are, by PyTorch, and whether the settings can be had on them."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from .. import runs
from ..errors import UserError
from ..settings import Settings


def examine() -> dict[str, Any]:
    """Return the record of the GPUs that PyTorch sees; importing it takes seconds."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    gpus = []
    for index in range(count):
        found = torch.cuda.get_device_properties(index)
        gpus.append(
            {
                "name": found.name,
                "memory_gib": round(found.total_memory / 2**30, 1),
                "memory_bytes": found.total_memory,
                "compute_capability": f"{found.major}.{found.minor}",
            }
        )
        # A GPU in exclusive mode that is in use does not let us ask.
        with contextlib.suppress(RuntimeError):
            gpus[-1]["free_bytes"] = torch.cuda.mem_get_info(index)[0]
    # Emulated bf16 (below compute capability 8.0) is slower than fp16 and saves nothing.
    bf16 = bool(gpus) and torch.cuda.is_bf16_supported(including_emulation=False)
    return {"schema": 1, "kind": "hardware", "count": len(gpus), "gpus": gpus, "bf16": bf16}


def resolve(settings: Settings, hardware: dict[str, Any] | None) -> dict[str, str]:
    """Return PRECISION, and GPUS, the names of the GPUs for CUDA_VISIBLE_DEVICES with spaces between ("" on a CPU).

    Args:
        settings: of the sweep.
        hardware: the record that :func:`examine` returns; not needed on a CPU.

    Raises:
        UserError: DEVICE, BACKEND, PRECISION or CUDA_VISIBLE_DEVICES cannot be had here.
    """
    precision = settings.precision
    if settings.device == "cpu":
        if settings.backend == "vllm":
            raise UserError("BACKEND=vllm needs a GPU; with DEVICE=cpu use BACKEND=huggingface")
        if precision == "fp16":
            raise UserError("PRECISION=fp16 needs a GPU; with DEVICE=cpu use fp32 or bf16")
        return {"PRECISION": "fp32" if precision == "auto" else precision, "GPUS": ""}
    assert hardware is not None
    count, bf16 = hardware["count"], hardware["bf16"]
    if not count:
        raise UserError(
            f"profile {settings.profile} needs a CUDA GPU and none is visible to PyTorch; check nvidia-smi "
            "(the driver has to be 580 or newer, for CUDA 13; in a container: the NVIDIA Container Toolkit and the "
            "compose service's GPU reservation), or run the profile for a CPU: PROFILE=tiny bin/sweep.sh"
        )
    # Those that the user chose, or all. A program of ours sees one: on several, llamafactory-cli would start a trainer
    # a GPU and multiply the global batch, and with it change the result.
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = chosen.split(",") if chosen else [str(index) for index in range(count)]
    if len(names) != count:
        raise UserError(
            f"CUDA_VISIBLE_DEVICES={chosen} names {len(names)} GPU(s), and PyTorch sees {count} of them; "
            "compare with nvidia-smi -L"
        )
    # Weights are loaded as they are stored, nearly always in 16 bits, and vLLM makes 16 bits of others, too.
    if precision == "fp32" and runs.evaluations(settings):
        raise UserError(
            "PRECISION=fp32 is for a CPU: trainer and server of a GPU take 16 bit weights all the same; "
            "use PRECISION=auto"
        )
    if precision == "bf16" and not bf16:
        raise UserError("PRECISION=bf16 is asked for and this GPU has none; use PRECISION=auto")
    if precision == "auto":
        precision = "bf16" if bf16 else "fp16"
    return {"PRECISION": precision, "GPUS": " ".join(names)}
