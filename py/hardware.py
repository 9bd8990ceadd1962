"""Write which GPUs PyTorch sees, as JSON.

    python py/hardware.py --out logs/hardware.json

Exit status: 0 a GPU with bf16, 3 GPUs without bf16, 4 no GPU.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from fewshot_sft.errors import run
from fewshot_sft.jsonio import write_json

EXIT_NO_BF16, EXIT_NO_GPU = 3, 4


def main(argv: list[str]) -> int:
    """Examine the visible GPUs and write them to ``--out``: name, memory in GiB, compute capability."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="where to write it; without, only the exit status tells")
    args = parser.parse_args(argv)
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    gpus = []
    for index in range(count):
        found = torch.cuda.get_device_properties(index)
        gpus.append(
            {
                "name": found.name,
                "memory_gib": round(found.total_memory / 2**30, 1),
                "compute_capability": f"{found.major}.{found.minor}",
            }
        )
    # Emulated bf16 (below compute capability 8.0) is slower than fp16 and saves nothing.
    bf16 = bool(gpus) and torch.cuda.is_bf16_supported(including_emulation=False)
    if args.out:
        write_json(args.out, {"schema": 1, "kind": "hardware", "gpus": gpus, "bf16": bf16})
    if not gpus:
        return EXIT_NO_GPU
    return 0 if bf16 else EXIT_NO_BF16


if __name__ == "__main__":
    run(main)
