"""Look at the labelled texts themselves: labels that look wrong, near-duplicates; and which texts to label next.

    python py/data_quality.py [--dry-run]

Writes objs/<sweep>/data_quality.json, and beside it suspicious_labels.csv, near_duplicates.csv and, with
UNLABELLED_FILE, label_next.csv. It is skipped while data and versions are the same. A part that cannot be made says
why, and is left out.

Exit status: 0 done (or done before), 2 something for the user to mend, 3 (--dry-run) there is something to do.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from fewshot_sft import dry_run, runs
from fewshot_sft.program import DONE, TO_DO, end_on_signals, run
from fewshot_sft.quality import making
from fewshot_sft.settings import Settings

NAMES = {"suspicious": "suspicious labels", "near_duplicates": "near-duplicates", "label_next": "texts to label next"}


def main(argv: list[str]) -> int:
    """Make the record and its lists, or say what would be done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry-run", action="store_true", help="write nothing: print what would be done and why")
    dry = parser.parse_args(argv).dry_run
    settings = Settings.read()
    if settings.task == runs.GENERATION:
        print("data quality: left out: TASK=generation has no labels to check")
        return DONE
    if runs.CHOSEN in os.environ and not runs.chosen(runs.baselines(settings, "tfidf")):
        return DONE  # of the jobs of a cluster, the one that has tfidf does it
    if dry and dry_run.first_planned(*map(str, making.data_files(settings).values())) is not None:
        print("data quality: to do (data)")
        return TO_DO
    end_on_signals()
    each = making.look(settings)
    why, path = each.why_made(), each.folder / making.RECORD
    if dry:
        print(f"data quality: done ({path})" if why is None else "data quality: to do" + f", {why}" * bool(why))
        return DONE if why is None else TO_DO
    if why is None:
        print(f"data quality: already checked ({path})")
    else:
        report(making.make(each))
    return DONE


def report(record: dict[str, Any]) -> None:
    """Print a line for each part: how many were found, and what that is worth."""
    for part, name in NAMES.items():
        if (why := record["absent"].get(part)) and (part != "label_next" or record["decides"].get("unlabelled")):
            print(f"data quality: {name}: left out: {why}", file=sys.stderr)
        elif part in record:
            print(f"data quality: {name}: {record[part]['count']} ({record[part]['file']}){worth(part, record[part])}")


def worth(part: str, found: dict[str, Any]) -> str:
    """Return what should be known of a list before one trusts it."""
    if part == "suspicious" and found["count"]:
        shares = ", ".join(f"{each['precision']:.0%} of {each['data']}'s" for each in found["measured"])
        return f"; so many of such were wrong on known data: {shares}"
    if part == "near_duplicates" and found["count"]:
        different, across = found["kinds"]["contradiction"], found["kinds"]["leak"]
        return f"; {different} with different labels, {across} across splits"
    return f"; {found['warning']}" if "warning" in found else ""


if __name__ == "__main__":
    run(main)
