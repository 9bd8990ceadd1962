"""Where labelled texts come from: the generator, a hub, or local files. Each gives one table a split."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import hub
from ..errors import UserError
from ..jsonio import sha256_file
from .columns import NoSuchColumn, find_columns
from .readers import Table, from_records, read_table

PARQUET = "refs/convert/parquet"
FULL = re.compile("[0-9a-f]{40}")
OF_COMMIT = re.compile(r"hf://datasets/[^@]+@([0-9a-f]{40})/")
Tables = dict[str, Table]
"""Tables under the keys "train" and, where the source has them, "valid" and "test"."""


def from_generator(counts: Mapping[str, int], seed: int, *, dialogue: bool = False) -> tuple[Tables, dict[str, Any]]:
    """Return synthetic patent-like abstracts, ``counts[split]`` of them a split, and a record of the source.

    With ``dialogue`` each is to be restated in its key terms.
    """
    from . import tiny_corpus  # imported here: real data does without it

    tables = {}
    for split, count in counts.items():
        if dialogue:
            restated = tiny_corpus.restated(split, count, seed)
            texts, terms = [text for text, _ in restated], [answer for _, answer in restated]
            where, told = f"generator, split {split}", [tiny_corpus.RESTATE] * count
            tables[split] = Table(where, texts, terms, instructions=told)
            continue
        pairs = tiny_corpus.labelled(split, count, seed)
        table = Table(f"generator, split {split}", [text for text, _ in pairs], [label for _, label in pairs])
        # As integers of declared names, so that the categories keep the generator's order.
        table.label_names = list(tiny_corpus.LABELS)
        table.labels = [table.label_names.index(label) for label in table.labels]
        tables[split] = table
    return tables, {"kind": "generator", "synthetic": True, "rows": dict(counts)}


def from_files(
    paths: Mapping[str, Path],
    text_column: str,
    label_column: str,
    encoding: str = "auto",
    delimiter: str = "auto",
    *,
    dialogue: bool = False,
) -> tuple[Tables, dict[str, Any]]:
    """Return the tables of local files, and a record with each file's hash and how it was read.

    Raises:
        UserError: see :func:`fewshot_sft.data.readers.read_table`.
    """
    tables: Tables = {}
    for split, path in paths.items():
        try:
            tables[split] = read_table(path, text_column, label_column, encoding, delimiter, dialogue=dialogue)
        except NoSuchColumn as error:
            if error.setting == "TEXT_COLUMN" or split == "train":
                raise
            raise UserError(without_labels(str(path), split, f' (no column "{label_column}")')) from None
    return tables, {
        "kind": "files",
        "files": {split: {"path": str(path), "sha256": sha256_file(path)} for split, path in paths.items()},
        "read_as": {split: table.read_as for split, table in tables.items()},
        "text_column": text_column,
        "label_column": label_column,
    }


def without_labels(where: str, split: str, why: str = "") -> str:
    """Return the message for a file of validation or test rows that have no labels."""
    return f"{where}: has no labels{why}; leave {split.upper()}_FILE empty, and {split} rows are held out of TRAIN_FILE"


def from_hub(
    dataset: str,
    config: str | None,
    text_column: str,
    label_column: str,
    modelscope: bool = False,
    *,
    revision: str = "",
    dialogue: bool = False,
) -> tuple[Tables, dict[str, Any]]:
    """Return the splits train, validation and test of a hub's data set, and a record of the source.

    ModelScope's hub serves it when asked to, Hugging Face's otherwise. ``revision`` is a branch, tag or commit; the
    newest when empty. The record has the commit that it was, where that is told.

    Raises:
        UserError: the data set cannot be loaded, or has no train split or not these columns.
    """
    if Path(dataset).is_file():
        raise UserError(f"DATASET={dataset} is a file; name it with TRAIN_FILE")
    asked = "DATASET, DATASET_CONFIG, DATASET_REVISION" if revision else "DATASET, DATASET_CONFIG"
    load = _load_modelscope if modelscope else _load_huggingface
    try:
        found = load(dataset, config, revision)
    except Exception as error:  # whatever the hub's client raises: a dozen types over several libraries
        if isinstance(error, UserError) or getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            raise
        if not modelscope and not Path(dataset).exists():
            _tell_refusal(dataset, error)
        # What no hub answers would be asked for again in vain, for most of a minute.
        there = _configurations(dataset) if isinstance(error, ValueError | FileNotFoundError) and not modelscope else []
        if there and config not in there:
            what = f'no configuration "{config}"' if config else "it has several configurations"
            raise UserError(f"{dataset}: {what}; set DATASET_CONFIG to one of {', '.join(there)}") from error
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        told = f" ({', '.join(filter(None, (config, revision)))})" if config or revision else ""
        raise UserError(
            f"cannot load {dataset}{told} from {_hub_name(modelscope)}: {reason}; check "
            f"{asked} and the network (HF_ENDPOINT names a mirror, USE_MODELSCOPE_HUB=1 chooses "
            f"ModelScope's hub), or download it and name the file with TRAIN_FILE"
        ) from error
    commit = _commit(found)
    # Where the hub does not answer, whatever is in the cache is loaded.
    if commit and FULL.fullmatch(revision) and revision != commit:
        raise UserError(
            f"{dataset}: revision {revision} is not in the cache, which has {commit}, and {hub.endpoint()} does not "
            "answer; check the network, or DATASET_REVISION"
        )
    tables: Tables = {}
    for split, name in (("train", "train"), ("valid", "validation"), ("test", "test")):
        if name not in found:
            continue
        rows = found[name]
        where = f"{dataset}, split {name}"
        if dialogue:
            tables[split] = from_records(where, rows, None, text_column, label_column, dialogue=True)
            continue
        if split != "train" and label_column not in rows.column_names and text_column in rows.column_names:
            tables[split] = Table(where, list(rows[text_column]), [None] * len(rows[text_column]))
            continue
        text, label = find_columns(where, rows.column_names, text_column, label_column)
        names = getattr(rows.features[label], "names", None)
        tables[split] = Table(where, list(rows[text]), list(rows[label]), label_names=names)
    if "train" not in tables:
        others = [] if modelscope else _configurations(dataset)
        told = f" (there are: {', '.join(others)})" if others else ""
        raise UserError(
            f'{dataset}: no split "train"; its splits are {", ".join(found)}; another DATASET_CONFIG may have one{told}'
        )
    return tables, {
        "kind": "hub",
        "hub": _hub_name(modelscope),
        "dataset": dataset,
        **({"config": config} if config else {}),
        **({"asked_revision": revision} if revision else {}),
        **({"revision": commit} if commit else {}),
        "rows": {split: len(table.texts) for split, table in tables.items()},
        "text_column": text_column,
        "label_column": label_column,
    }


def _tell_refusal(dataset: str, error: Exception) -> None:
    """Raise a UserError where the hub itself says why a data set cannot be had.

    Its own words may be hidden: what is in the cache, another configuration, is then looked at, and told instead.
    """
    from huggingface_hub import HfApi

    if hub.is_offline(os.environ):
        return
    try:
        HfApi().auth_check(dataset, repo_type="dataset")
    except Exception as refused:  # whatever the client raises
        if told := hub.refusal(f"datasets/{dataset}", "data set", "DATASET", refused):
            raise UserError("; ".join(told)) from error


def _hub_name(modelscope: bool) -> str:
    return "ModelScope" if modelscope else "Hugging Face"


def _configurations(dataset: str) -> list[str]:
    """Return the configurations of a data set of Hugging Face's hub or of a folder; none when they cannot be known."""
    import datasets
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFolder

    with contextlib.suppress(Exception):
        return list(datasets.get_dataset_config_names(dataset))
    with contextlib.suppress(Exception):  # behind a script, see _load_huggingface
        tree = HfApi().list_repo_tree(dataset, revision=PARQUET, repo_type="dataset")
        return [each.path for each in tree if isinstance(each, RepoFolder)]
    return []


def _commit(found: Mapping[str, Any]) -> str | None:
    """Return the commit of Hugging Face's hub that the splits were downloaded at, None where that is not told."""
    for rows in found.values():
        for address in getattr(getattr(rows, "info", None), "download_checksums", None) or ():
            if told := OF_COMMIT.match(address):
                return told[1]
    return None


def _load_huggingface(dataset: str, config: str | None, revision: str) -> Mapping[str, Any]:
    import datasets  # imported here: seconds that the other sources need not pay

    try:
        return datasets.load_dataset(dataset, config, revision=revision or None)
    except RuntimeError as error:
        # datasets 4 runs no loading scripts. The hub keeps a Parquet export of such data sets on a branch of its
        # own, one folder a configuration.
        if revision or "scripts are no longer supported" not in str(error):
            raise
        return datasets.load_dataset(dataset, data_dir=config or "default", revision=PARQUET)


def _load_modelscope(dataset: str, config: str | None, revision: str) -> Mapping[str, Any]:
    try:
        from modelscope import MsDataset
    except (ImportError, RuntimeError) as error:  # RuntimeError: it is there, but without what data sets need
        raise UserError(
            f"USE_MODELSCOPE_HUB=1 needs ModelScope's data set packages ({str(error).splitlines()[-1]}): "
            f'uv pip install "modelscope[datasets]", or unset it to use Hugging Face\'s hub'
        ) from None
    loaded = MsDataset.load(dataset, subset_name=config, **({"version": revision} if revision else {}))
    # A data set with one split comes without the split's name, and each split may be wrapped.
    splits = loaded if isinstance(loaded, Mapping) else {"train": loaded}
    return {name: rows.to_hf_dataset() if hasattr(rows, "to_hf_dataset") else rows for name, rows in splits.items()}
