"""Write which GPUs PyTorch sees as JSON, and print how many.

    python py/hardware.py --out logs/hardware.json
    python py/hardware.py --known logs/hardware.json

With ``--known`` the record of an earlier look is read instead, which saves seconds. Exit status: 0 a GPU with bf16,
3 GPUs without bf16, 4 no GPU.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from fewshot_sft.errors import run
from fewshot_sft.jsonio import read_json, write_json
from fewshot_sft.planning import gpus

EXIT_NO_BF16, EXIT_NO_GPU = 3, 4


def main(argv: list[str]) -> int:
    """Examine the visible GPUs: name, memory, free memory, compute capability."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--known", type=Path, help="a record, which is read instead")
    parser.add_argument("--out", type=Path, help="the record; none is written without")
    args = parser.parse_args(argv)
    record = read_json(args.known) if args.known else gpus.examine()
    if args.out:
        write_json(args.out, record)
    print(record["count"])
    if not record["count"]:
        return EXIT_NO_GPU
    return 0 if record["bf16"] else EXIT_NO_BF16


if __name__ == "__main__":
    run(main)
