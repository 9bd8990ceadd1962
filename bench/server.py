"""Compare what bench/server.sh has left in a folder.

    python bench/server.py --folder FOLDER RUN...

Prints the table and writes server.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "py"))

from fewshot_sft.jsonio import write_json


def main() -> None:
    """Print items per second of both, from the first request to the last answer, and the share."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("runs", nargs="+")
    args = parser.parse_args()
    rows = []
    for run in args.runs:
        plain = json.loads((args.folder / f"plain.{run}.json").read_text(encoding="utf-8"))
        record = json.loads((args.folder / f"ours/{run}.json").read_text(encoding="utf-8"))
        timings = record["timings"]
        asking = timings["answered"] / (timings["seconds"] - timings["client_start_seconds"])
        rows.append(
            {
                "run": run,
                "size": record["size"],
                "items": plain["items"],
                "plain": plain["items_per_second"],
                "ours": round(asking, 2),
                "ours_with_start": timings["items_per_second"],
                "share": round(asking / plain["items_per_second"], 3),
                "concurrency": timings["concurrency"],
            }
        )
    print(f"{'size':>6} {'plain, items/s':>15} {'ours':>8} {'share':>7} {'with the start':>15}")
    for row in rows:
        rates = f"{row['size']:6} {row['plain']:15.1f} {row['ours']:8.1f} {row['share']:7.1%}"
        print(f"{rates} {row['ours_with_start']:15.1f}")
    share = median(row["share"] for row in rows)
    print(f"our evaluation takes {share:.0%} of what the server can take (median)")
    write_json(args.folder / "server.json", {"schema": 1, "kind": "server", "runs": rows, "median_share": share})


if __name__ == "__main__":
    main()
