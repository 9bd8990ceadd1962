"""Build the data of a sweep: nested training subsets, a validation and a test split, as Alpaca JSON.

python py/build_data.py --source generator --sizes 50 100 200 400 --out data/tiny
python py/build_data.py --source files --train-file train.csv --test-file test.csv \\
    --text-column text --label-column label --sizes 100 500 1000 2000 --out data/mine
python py/build_data.py --source hub --dataset ccdv/patent-classification --dataset-config abstract \\
    --sizes 100 500 1000 2000 --out data/patents

Writes llm_train_<N>.json, llm_valid.json, llm_test.json, dataset_info.json and manifest.json. The same arguments give
the same bytes; other sizes leave the files of these sizes as they are.

Without a validation or test split one is held out of the training rows: --valid-count and --test-count rows, or 10 %
and 20 % of them, a little more where that is less than one a class. With one, the counts are caps. Training rows are
cleaned (repeated texts, texts that also are in
validation or test); validation and test rows are kept, so that figures compare with published ones, and what repeats
there is reported.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fewshot_sft.data import categories, cleaning, dataset_info, describe, manifest, prompts, sampling, sources
from fewshot_sft.errors import UserError
from fewshot_sft.jsonio import dumps, sha256_file, sha256_json
from fewshot_sft.program import run

GENERATED = {"valid": 300, "test": 300}
EXIT_DONE = 3


def main(argv: list[str]) -> int:
    """Build the data that the command line asks for and return the exit status."""
    args = parse(argv)
    sizes = sampling.parse_sizes(args.sizes)
    if args.show_sizes:
        before = manifest.read(args.out / manifest.FILE) or {}
        print(*(before.get("sizes", sizes) if before.get("sizes_fitted") else sizes))
        return 0
    counts = {"valid": args.valid_count, "test": args.test_count}
    # What is cheap to check comes before a download.
    manifest.check_writable(args.out)
    register = dataset_info.read(args.out / dataset_info.FILE)
    template = prompts.read_template(args.instruction_file)
    given = categories.read_labels_file(args.labels_file) if args.labels_file else None
    if args.plan and args.source == "hub":  # it would fill the hub's cache
        return show_plan(args.out, plan_of_hub(args, sizes))

    tables, source = load(args, counts)
    if args.labels_file:
        source["labels_file"] = _file_record(args.labels_file)
    full, removed = {}, {}
    for split, table in tables.items():
        full[split], empty = cleaning.rows_with_text(table)
        removed[split] = {"empty_text": [index + 1 for index in empty]}
    told = without_labels(args, tables, full)
    names, assigned = categories.assign(tables, full, given, template)
    found = {split: cleaning.examples(tables[split], full[split], assigned[split]) for split in tables}
    repeated = cleaning.repeats_in_evaluation(found)
    held_out: dict[str, list[cleaning.Example]] = {split: found[split] for split in ("test", "valid") if split in found}
    clean, reasons = cleaning.clean_training(found["train"], held_out)
    removed["train"] |= reasons

    pool, evaluation = sampling.hold_out(clean, held_out, counts, args.seed)
    asked, fitted = sizes, args.fit and sizes[-1] > len(pool) > 0
    if fitted:
        sizes = sampling.fitting(sizes, len(pool))
        told.append(describe.sizes_taken(asked, sizes, len(pool)))
    if sizes[-1] > len(pool) or not evaluation["test"]:
        raise UserError(describe.too_few(sizes, pool, evaluation, tables, removed))
    told += categories.doubts(tables, full, given, assigned)
    splits = {
        f"llm_train_{size}": subset for size, subset in sampling.subsets(pool, sizes, args.seed, args.sampling).items()
    } | {f"llm_{split}": evaluation[split] for split in ("valid", "test")}

    instruction = prompts.render_instruction(names, template)
    files = {
        f"{name}.json": manifest.split_file(rows, instruction, args.document_prefix) for name, rows in splits.items()
    }
    records = {name: manifest.split_record(name, rows, names, files[f"{name}.json"]) for name, rows in splits.items()}
    decisive = {
        "labels": names,
        "instruction": instruction,
        "document_prefix": args.document_prefix,
        "seed": args.seed,
        "sampling": args.sampling,
    }
    rows = {"train": pool, **evaluation}
    content = {
        "schema": 1,
        "kind": "data",
        # The sizes are not part of it: a further size leaves the others' data as they are.
        "identity": sha256_json(decisive | {split: [row.sha256 for row in rows[split]] for split in rows}),
        "source": source,
        **decisive,
        "sizes": sizes,
        **({"sizes_fitted": True} if fitted else {}),
        "splits": records,
        "removed": {split: describe.counted(reasons) for split, reasons in removed.items()},
        "kept_repeats": {split: describe.counted(reasons) for split, reasons in repeated.items()},
        "warnings": told + describe.warnings(names, pool, records, removed, repeated),
    }
    files[dataset_info.FILE] = dumps(dataset_info.register(register, splits)).encode()
    if args.plan:
        for line in readings(tables):
            print(f"    {line}")  # as the commands of a plan: no step of its own
        return show_plan(args.out, manifest.pending(args.out, content, files))
    report(args.out, tables, content, manifest.save(args.out, content, files), manifest.stale(args.out, files))
    return 0


def plan_of_hub(args: argparse.Namespace, sizes: Sequence[int]) -> dict[str, str]:
    """Return what would be written and why, as far as the manifest tells; the hub itself is not asked."""
    names = [f"llm_train_{size}" for size in sizes] + ["llm_valid", "llm_test"]
    before = manifest.read(args.out / manifest.FILE) or {}
    source = before.get("source", {})
    asked = {
        "seed": args.seed,
        "sampling": args.sampling,
        "document_prefix": args.document_prefix,
        "source": source
        | {
            "kind": "hub",
            "dataset": args.dataset,
            "text_column": args.text_column,
            "label_column": args.label_column,
            **({"config": args.dataset_config} if args.dataset_config else {}),
            **({"labels_file": _file_record(args.labels_file)} if args.labels_file else {}),
        },
    }
    found = {}
    for name in names:
        path = args.out / f"{name}.json"
        noted = before.get("splits", {}).get(name, {}).get("sha256")
        if not path.is_file():
            found[path.name] = "not there"
        elif any(before.get(part) != value for part, value in asked.items()):
            found[path.name] = manifest.why_changed(before, asked)
        elif sha256_file(path) != noted:
            found[path.name] = "not as it was built"
    return found


def show_plan(out: Path, pending: Mapping[str, str]) -> int:
    """Print the lines of the plan, one a file that would be written; return 3 when there is none."""
    for name, why in pending.items():
        print(f"data {name}: to do, {why}")
    if not pending:
        print(f"data: done ({out})")
        return EXIT_DONE
    return 0


def _file_record(path: Path) -> dict[str, str]:
    return {"path": str(path), "sha256": sha256_file(path)}


def load(args: argparse.Namespace, counts: Mapping[str, int | None]) -> tuple[sources.Tables, dict[str, Any]]:
    """Return the tables of the source that was asked for, and a record of it."""
    if args.source == "generator":
        wanted = {split: count or GENERATED[split] for split, count in counts.items()}
        return sources.from_generator({"train": args.train_pool, **wanted}, args.seed)
    if args.source == "hub":
        return sources.from_hub(args.dataset, args.dataset_config, args.text_column, args.label_column)
    if not args.train_file:
        raise UserError("TRAIN_FILE is empty; name a file of labelled texts")
    paths = {"train": args.train_file, "valid": args.valid_file, "test": args.test_file}
    given = {split: path for split, path in paths.items() if path}
    return sources.from_files(given, args.text_column, args.label_column, args.encoding, args.delimiter)


def without_labels(args: argparse.Namespace, tables: sources.Tables, rows: dict[str, list[int]]) -> list[str]:
    """Leave out the held-out splits of a hub's data set that have no labels, and return a warning for each.

    Raises:
        UserError: a file of the user's has none.
    """
    told = []
    for split in ("valid", "test"):
        if split not in tables or not categories.unlabelled(tables[split], rows[split]):
            continue
        where = tables.pop(split).where
        del rows[split]
        if args.source == "files":
            raise UserError(sources.without_labels(where, split))
        told.append(f"{where}: has no labels, left out; {split} rows are held out of the training rows")
    return told


def report(
    out: Path, tables: sources.Tables, content: Mapping[str, Any], written: Sequence[str], stale: Sequence[str]
) -> None:
    """Print the table, how files were read and what was written on stdout, warnings on stderr."""
    for warning in content["warnings"]:
        print(f"warning: {warning}", file=sys.stderr)
    print(describe.table(content["splits"]))
    for line in readings(tables):
        print(f"data: {line}")
    if stale:
        print(f"note: not of these sizes, left as they were: {', '.join(stale)}")
    print(f"data: wrote {', '.join(written)} to {out}" if written else f"data: up to date ({out})")


def readings(tables: sources.Tables) -> list[str]:
    """Return a line for each file that was read otherwise than its name promises, or holds what should be known."""
    return [table.reading() for table in tables.values() if not table.is_plain()]


def positive(value: str) -> int:
    """Return a count given as text; 0 and less are errors of the command line."""
    if not value.isdecimal() or int(value) < 1:
        raise argparse.ArgumentTypeError(f'"{value}" is not a whole number of 1 or more')
    return int(value)


def parse(argv: list[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--source", required=True, choices=["generator", "hub", "files"], help="where the labelled texts come from")
    add("--out", required=True, type=Path, metavar="DIR", help="folder to write, usually data/<NAME>")
    add("--sizes", nargs="+", default=["100", "500", "1000", "2000"], metavar="N", help="training subsets")
    add("--fit", action="store_true", help="the sizes are the default ones: where they do not fit, take some that do")
    add("--show-sizes", action="store_true", help="only print the sizes, or those that --fit took instead")
    add("--sampling", choices=["nested", "independent"], default="nested", help="nested and stratified (default)")
    add("--seed", type=int, default=42, help="of generator and sampling (default %(default)s)")
    add("--valid-count", type=positive, metavar="N", help="validation rows: at most, or to hold out")
    add("--test-count", type=positive, metavar="N", help="test rows: at most, or to hold out")
    add("--train-pool", type=positive, default=2000, metavar="N", help="generator: training rows (default %(default)s)")
    add("--dataset", default="ccdv/patent-classification", help="hub: name of the data set (default %(default)s)")
    add("--dataset-config", default=None, metavar="NAME", help="hub: configuration, as abstract")
    add("--train-file", type=Path, metavar="FILE", help="files: .csv, .tsv, .txt, .json, .jsonl or .parquet")
    add("--valid-file", type=Path, metavar="FILE", help="files: validation rows")
    add("--test-file", type=Path, metavar="FILE", help="files: test rows")
    add("--encoding", default="auto", metavar="NAME", help="files: encoding of text files (default: it is found)")
    add("--delimiter", default="auto", metavar="CHARACTER", help="files: between fields, or tab (default: it is found)")
    add("--text-column", default="text", metavar="NAME", help="column of the text (default %(default)s)")
    add("--label-column", default="label", metavar="NAME", help="column of the label (default %(default)s)")
    add("--labels-file", type=Path, metavar="FILE", help="categories: one a line, a JSON list, or JSON value -> name")
    add("--instruction-file", type=Path, metavar="FILE", help="template of the instruction, with {categories}")
    add(
        "--document-prefix",
        default=prompts.DOCUMENT_PREFIX,
        metavar="TEXT",
        help="before each text (default %(default)r)",
    )
    add("--plan", action="store_true", help="only say what would be written, and why; exit 3 when there is nothing")
    return parser.parse_args(argv)


if __name__ == "__main__":
    run(main)
