"""Which GPUs there are, by PyTorch."""

from __future__ import annotations

import contextlib
from typing import Any


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
                "multiprocessors": found.multi_processor_count,
            }
        )
        # A GPU in exclusive mode that is in use does not let us ask.
        with contextlib.suppress(RuntimeError):
            gpus[-1]["free_bytes"] = torch.cuda.mem_get_info(index)[0]
    # Emulated bf16 (below compute capability 8.0) is slower than fp16 and saves nothing.
    bf16 = bool(gpus) and torch.cuda.is_bf16_supported(including_emulation=False)
    return {"schema": 1, "kind": "hardware", "count": len(gpus), "gpus": gpus, "bf16": bf16}
