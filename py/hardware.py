"""Write which GPUs PyTorch sees, as JSON.

    python py/hardware.py --out logs/hardware.json

With --known FILE nothing is looked at: FILE is such a record, and the rest is as ever.

Exit status: 0 a GPU with bf16, 3 GPUs without bf16, 4 no GPU.
"""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import Any

from fewshot_sft.errors import run
from fewshot_sft.jsonio import dumps, read_json, write_json

EXIT_NO_BF16, EXIT_NO_GPU = 3, 4


def main(argv: list[str]) -> int:
    """Examine the visible GPUs and write them to ``--out``: name, memory, what is free of it, compute capability."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--known", type=Path, help="a record of before, which is taken instead")
    parser.add_argument("--out", type=Path, help="where to write it; without, only the exit status tells")
    parser.add_argument("--print", action="store_true", dest="show", help="print the record: a dry run writes none")
    parser.add_argument("--count", action="store_true", help="print how many there are")
    args = parser.parse_args(argv)
    record = read_json(args.known) if args.known else examine()
    if args.out and not args.known:
        write_json(args.out, record)
    if args.show:
        print(dumps(record), end="")
    if args.count:
        print(record["count"])
    if not record["count"]:
        return EXIT_NO_GPU
    return 0 if record["bf16"] else EXIT_NO_BF16


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


if __name__ == "__main__":
    run(main)
