"""Build the data of a sweep: training subsets of each size and seed, a validation and a test split, as Alpaca JSON.

    python py/build_data.py [--dry-run]

Writes llm_train_<N>.json for seed 42 and llm_train_<N>-seed<S>.json for another, llm_valid.json, llm_test.json,
dataset_info.json and manifest.json. The same settings give the same bytes; other sizes and seeds leave the files of
these as they are.

Without a validation or test split one is held out of the training rows: VALID_COUNT and TEST_COUNT rows, or 10 % and
20 % of them, a little more where that is less than one a class. With one, the counts are caps. Training rows are
cleaned (repeated texts, texts that also are in validation or test); validation and test rows are kept, so that figures
compare with published ones, and what repeats there is reported.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fewshot_sft import dry_run, runs
from fewshot_sft.data import categories, cleaning, dataset_info, describe, manifest, prompts, sampling, sources
from fewshot_sft.errors import UserError
from fewshot_sft.identity import read_record
from fewshot_sft.jsonio import dumps, sha256_file, sha256_json
from fewshot_sft.program import DONE, TO_DO, run
from fewshot_sft.settings import Settings, table

GENERATOR = "synthetic-patents"  # a DATASET that is neither a folder nor on a hub
OF_LABELS = ("LABELS_FILE", "INSTRUCTION_FILE", "UNLABELLED_FILE", "TARGET_F1", "TARGET_ACCURACY", "CONSTRAIN")
GENERATED = {"train": 2000, "valid": 300, "test": 300}


def main(argv: list[str]) -> int:
    """Build the data, or say what would be built, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry-run", action="store_true", help="only say what would be written, and why")
    dry = parser.parse_args(argv).dry_run
    settings = Settings.read()
    free = settings.task == runs.GENERATION
    if given_for_labels := [name for name in OF_LABELS if free and settings[name] not in ("", "0")]:
        raise UserError(f"{', '.join(given_for_labels)}: of labels, which TASK=generation has none of; unset it")
    out = settings.data_dir
    # What is cheap to check comes before a download.
    manifest.check_writable(out)
    register = dataset_info.read(out / dataset_info.FILE)
    template = prompts.read_template(settings.instruction_file)
    given = categories.read_labels_file(settings.labels_file) if settings.labels_file else None
    if dry and not settings.train_file and settings.dataset != GENERATOR:  # it would fill the hub's cache
        return show_plan(out, plan_of_hub(settings))

    tables, source = load(settings)
    source |= labels_record(settings)
    full, removed = {}, {}
    for split, each in tables.items():
        full[split], empty = cleaning.rows_with_text(each)
        removed[split] = {"empty_text": [index + 1 for index in empty]}
    told: list[str] = []
    names: list[str] = []
    found = {}
    if free:
        for split, each in tables.items():
            found[split], removed[split]["empty_answer"] = cleaning.instructed(each, full[split])
    else:
        told = without_labels(tables, full, of_files=bool(settings.train_file))
        names, assigned = categories.assign(tables, full, given, template)
        found = {split: cleaning.examples(tables[split], full[split], assigned[split]) for split in tables}
    repeated = cleaning.repeats_in_evaluation(found)
    held_out: dict[str, list[cleaning.Example]] = {split: found[split] for split in ("test", "valid") if split in found}
    clean, reasons = cleaning.clean_training(found["train"], held_out)
    removed["train"] |= reasons

    counts = {"valid": settings.valid_count, "test": settings.test_count}
    pool, evaluation = sampling.hold_out(clean, held_out, counts, settings.split_seed)
    sizes = sorted(settings.sizes)
    fitted = settings["SIZES"] == table()["SIZES"].default and sizes[-1] > len(pool) > 0
    if fitted:
        asked, sizes = sizes, sampling.fitting(sizes, len(pool))
        told.append(describe.sizes_taken(asked, sizes, len(pool)))
    if sizes[-1] > len(pool) or not evaluation["test"]:
        raise UserError(describe.too_few(sizes, pool, evaluation, tables, removed))
    told += [] if free else categories.doubts(tables, full, given, assigned)

    instruction = "" if free else prompts.render_instruction(names, template)
    files, records = {}, {}
    for name, rows, of_run in splits(pool, evaluation, sizes, settings):
        files[f"{name}.json"] = manifest.split_file(rows, instruction)
        records[name] = manifest.split_record(name, rows, names, files[f"{name}.json"]) | of_run
    decisive = {
        **({"task": settings.task} if free else {}),
        "labels": names,
        "instruction": instruction,
        "document_prefix": "" if free else prompts.DOCUMENT_PREFIX,
        "split_seed": settings.split_seed,
        "sampling": settings.sampling,
    }
    row_hashes = {split: [row.sha256 for row in rows] for split, rows in {"train": pool, **evaluation}.items()}
    content = {
        "schema": manifest.SCHEMA,
        "kind": "data",
        # Sizes and seeds are not part of it: further ones leave the others' data as they are.
        "identity": sha256_json(decisive | row_hashes),
        "source": source,
        **decisive,
        "sizes": sizes,
        **({"sizes_fitted": True} if fitted else {}),
        "seeds": list(settings.seeds),
        "splits": records,
        "removed": {split: describe.counted(reasons) for split, reasons in removed.items()},
        "kept_repeats": {split: describe.counted(reasons) for split, reasons in repeated.items()},
        "warnings": told + describe.warnings(names, pool, records, removed, repeated),
    }
    files[dataset_info.FILE] = dumps(dataset_info.register(register, records)).encode()
    if dry:
        for line in readings(tables):
            print(f"    {line}")
        dry_run.note_sizes(sizes)
        if fitted:
            print(f"warning: {describe.sizes_taken(sorted(settings.sizes), sizes, len(pool))}", file=sys.stderr)
        return show_plan(out, manifest.pending(out, content, files))
    report(out, tables, content, manifest.save(out, content, files), manifest.stale(out, files))
    return DONE


def splits(
    pool: Sequence[cleaning.Example],
    evaluation: Mapping[str, Sequence[cleaning.Example]],
    sizes: Sequence[int],
    settings: Settings,
) -> Iterator[tuple[str, Sequence[cleaning.Example], dict[str, int]]]:
    """Yield the name and the rows of each file, and of a training subset its size and seed."""
    for seed in settings.seeds:
        drawn = sampling.subsets(pool, sizes, seed, settings.split_seed, settings.sampling)
        for size, subset in drawn.items():
            yield runs.dataset_name(size, seed), subset, {"size": size, "seed": seed}
    for split in ("valid", "test"):
        yield f"llm_{split}", evaluation[split], {}


def plan_of_hub(settings: Settings) -> dict[str, str]:
    """Return what would be written and why, as far as the manifest tells; the hub itself is not asked."""
    out = settings.data_dir
    before = read_record(out / manifest.FILE)
    built = before.get("source", {})
    of_hub = {
        "kind": "hub",
        "dataset": settings.dataset,
        "text_column": settings.text_column,
        "label_column": settings.label_column,
        **({"config": settings.dataset_config} if settings.dataset_config else {}),
        **({"asked_revision": settings.dataset_revision} if settings.dataset_revision else {}),
    }
    asked = {
        "schema": manifest.SCHEMA,
        "split_seed": settings.split_seed,
        "sampling": settings.sampling,
        "document_prefix": "" if settings.task == runs.GENERATION else prompts.DOCUMENT_PREFIX,
        "source": {key: value for key, value in built.items() if key != "asked_revision"}
        | of_hub
        | labels_record(settings),
    }
    found = {}
    for name in [*(each.dataset for each in runs.trainings(settings)), "llm_valid", "llm_test"]:
        path = out / f"{name}.json"
        if not path.is_file():
            found[path.name] = "not there"
        elif any(before.get(part) != value for part, value in asked.items()):
            found[path.name] = manifest.why_changed(before, asked)
        elif sha256_file(path) != before.get("splits", {}).get(name, {}).get("sha256"):
            found[path.name] = "not as it was built"
    return found


def show_plan(out: Path, pending: Mapping[str, str]) -> int:
    """Print a line for each file that would be written, and note it for the steps that need it."""
    for name, why in pending.items():
        print(f"data {name}: to do, {why}")
        dry_run.note(str(out / name))
    if not pending:
        print(f"data: done ({out})")
        return DONE
    dry_run.show(["python", "py/build_data.py"])
    return TO_DO


def labels_record(settings: Settings) -> dict[str, Any]:
    """Return the labels file as the record of the source has it, nothing where there is none."""
    path = settings.labels_file
    return {"labels_file": {"path": str(path), "sha256": sha256_file(path)}} if path else {}


def load(settings: Settings) -> tuple[sources.Tables, dict[str, Any]]:
    """Return the tables of the source that the settings name, and a record of it."""
    columns = settings.text_column, settings.label_column
    dialogue = settings.task == runs.GENERATION
    if settings.train_file:
        paths = {"train": settings.train_file, "valid": settings.valid_file, "test": settings.test_file}
        given = {split: path for split, path in paths.items() if path}
        return sources.from_files(given, *columns, settings.encoding, settings.delimiter, dialogue=dialogue)
    if settings.dataset == GENERATOR:
        counts = {"valid": settings.valid_count, "test": settings.test_count}
        wanted = GENERATED | {split: count for split, count in counts.items() if count}
        return sources.from_generator(wanted, settings.split_seed, dialogue=dialogue)
    hub, revision = settings.use_modelscope_hub, settings.dataset_revision
    return sources.from_hub(
        settings.dataset, settings.dataset_config, *columns, hub, revision=revision, dialogue=dialogue
    )


def without_labels(tables: sources.Tables, rows: dict[str, list[int]], *, of_files: bool) -> list[str]:
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
        if of_files:
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
        print(f"note: not of these sizes and seeds, left as they were: {', '.join(stale)}")
    print(f"data: wrote {', '.join(written)} to {out}" if written else f"data: up to date ({out})")


def readings(tables: sources.Tables) -> list[str]:
    """Return a line for each file that was read otherwise than its name promises, or holds what should be known."""
    return [table.reading() for table in tables.values() if not table.is_plain()]


if __name__ == "__main__":
    run(main)
