"""Hubs: the calls made to each client, ClassLabel columns, and failures told in one sentence."""

from __future__ import annotations

import ast
import errno
import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

import build_data
from fewshot_sft.data import sources
from fewshot_sft.errors import UserError


class Split(dict):
    """What is used of a ``datasets.Dataset``: columns by name, their names and features."""

    def __init__(self, texts, labels, names=None):
        super().__init__(text=texts, label=labels)
        self.column_names = ["text", "label"]
        self.features = {"text": None, "label": SimpleNamespace(names=names) if names else SimpleNamespace()}


class Wrapped:
    """A ModelScope data set: it has to be unwrapped."""

    def __init__(self, split):
        self.split = split

    def to_hf_dataset(self):
        return self.split


@pytest.fixture
def hub(monkeypatch):
    """Stand-ins for the packages ``datasets`` and ``modelscope``: ``hub.answers`` is returned or raised in turn."""
    made = SimpleNamespace(calls=[], answers=[])

    def answer(*args, **options):
        made.calls.append((args, options))
        value = made.answers.pop(0)
        if isinstance(value, Exception):
            raise value
        return value

    huggingface, modelscope = ModuleType("datasets"), ModuleType("modelscope")
    huggingface.load_dataset = answer
    huggingface.get_dataset_config_names = lambda name: ["one", "two"]
    modelscope.MsDataset = SimpleNamespace(load=answer)
    monkeypatch.setitem(sys.modules, "datasets", huggingface)
    monkeypatch.setitem(sys.modules, "modelscope", modelscope)
    return made


def test_hugging_face(hub):
    hub.answers = [{"train": Split(["a"], [1], ["x", "y"]), "validation": Split(["b"], [0]), "test": Split(["c"], [1])}]

    tables, record = sources.from_hub("ccdv/patent-classification", "abstract", "text", "label")

    assert hub.calls == [(("ccdv/patent-classification", "abstract"), {"revision": None})]
    assert list(tables) == ["train", "valid", "test"]
    assert (tables["train"].texts, tables["train"].labels, tables["train"].label_names) == (["a"], [1], ["x", "y"])
    assert tables["valid"].label_names is None
    assert tables["valid"].at(0) == "ccdv/patent-classification, split validation: row 1"
    assert record == {
        "kind": "hub",
        "hub": "Hugging Face",
        "dataset": "ccdv/patent-classification",
        "config": "abstract",
        "rows": {"train": 1, "valid": 1, "test": 1},
        "text_column": "text",
        "label_column": "label",
    }


def test_a_data_set_behind_a_loading_script_comes_from_its_parquet_export(hub):
    hub.answers = [
        RuntimeError("Dataset scripts are no longer supported, but found x.py"),
        {"train": Split(["a"], ["x"])},
    ]

    tables, _ = sources.from_hub("owner/x", "abstract", "text", "label")

    assert hub.calls[1] == (("owner/x",), {"data_dir": "abstract", "revision": "refs/convert/parquet"})
    assert tables["train"].labels == ["x"]


@pytest.mark.parametrize("wrap", [Wrapped, lambda split: split])
def test_modelscope_with_several_splits(hub, wrap):
    hub.answers = [{"train": wrap(Split(["a"], [0], ["x", "y"])), "test": wrap(Split(["b"], [1], ["x", "y"]))}]

    tables, record = sources.from_hub("owner/x", "abstract", "text", "label", modelscope=True)

    assert hub.calls == [(("owner/x",), {"subset_name": "abstract"})]
    assert {split: table.labels for split, table in tables.items()} == {"train": [0], "test": [1]}
    assert record["hub"] == "ModelScope"


def test_modelscope_with_a_single_split(hub):
    hub.answers = [Wrapped(Split(["a"], ["x"]))]

    tables, record = sources.from_hub("owner/x", None, "text", "label", modelscope=True)

    assert list(tables) == ["train"]
    assert "config" not in record


def test_the_real_modelscope_class_takes_the_call_that_is_made():
    """Read from its source: importing it needs packages that only the hub's users install."""
    package = Path(importlib.util.find_spec("modelscope").origin).parent
    tree = ast.parse((package / "msdatasets" / "ms_dataset.py").read_text(encoding="utf-8"))
    methods = {
        item.name: [argument.arg for argument in item.args.args]
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name == "MsDataset"
        for item in node.body
        if isinstance(item, ast.FunctionDef)
    }

    assert methods["load"][0] == "dataset_name"
    assert "subset_name" in methods["load"]
    assert methods["to_hf_dataset"] == ["self"]


class Incomplete(ModuleType):
    """The package as LLaMA-Factory installs it: importing from it fails in its own way."""

    def __getattr__(self, name):
        raise RuntimeError("Failed to import modelscope.msdatasets (look up its traceback):\nNo module named 'addict'")


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (None, "import of modelscope halted; None in sys.modules"),
        (Incomplete("modelscope"), "No module named 'addict'"),
    ],
)
def test_modelscope_not_installed(hub, monkeypatch, module, reason):
    monkeypatch.setitem(sys.modules, "modelscope", module)

    with pytest.raises(UserError) as error:
        sources.from_hub("owner/x", None, "text", "label", modelscope=True)
    assert str(error.value) == (
        f"USE_MODELSCOPE_HUB=1 needs ModelScope's data set packages ({reason}): "
        f'uv pip install "modelscope[datasets]", or unset it to use Hugging Face\'s hub'
    )


def test_the_network_is_down(hub):
    hub.answers = [ConnectionError("Couldn't reach 'owner/x' on the Hub.\nand a long tail")]

    with pytest.raises(UserError) as error:
        sources.from_hub("owner/x", "abstract", "text", "label")
    assert str(error.value) == (
        "cannot load owner/x (abstract) from Hugging Face: Couldn't reach 'owner/x' on the Hub; "
        "check DATASET, DATASET_CONFIG and the network (HF_ENDPOINT names a mirror, USE_MODELSCOPE_HUB=1 chooses "
        "ModelScope's hub), or download it and name the file with TRAIN_FILE"
    )


def test_a_full_disk_is_not_taken_for_the_network(hub):
    hub.answers = [OSError(errno.ENOSPC, "No space left on device", "/cache")]

    with pytest.raises(OSError, match="No space left"):
        sources.from_hub("owner/x", None, "text", "label")


def test_no_train_split_and_unknown_column(hub):
    hub.answers = [{"test": Split(["a"], ["x"])}, {"train": Split(["a"], ["x"])}]

    with pytest.raises(UserError) as error:
        sources.from_hub("owner/x", None, "text", "label")
    assert str(error.value) == (
        'owner/x: no split "train"; its splits are test; another DATASET_CONFIG may have one (there are: one, two)'
    )
    with pytest.raises(
        UserError, match=r'^owner/x, split train: no column "abstract"; the columns are "text", "label"'
    ):
        sources.from_hub("owner/x", None, "abstract", "label")


def test_splits_without_labels_are_left_out(hub):
    """GLUE's test splits: -1 everywhere; others lack the column."""
    bare = Split(["c"], [None])
    bare.column_names = ["text"]
    train, test = Split(["a"], [1], ["x", "y"]), Split(["b"], [-1], ["x", "y"])
    hub.answers = [{"train": train, "validation": bare, "test": test}]
    tables, _ = sources.from_hub("owner/x", None, "text", "label")
    rows = {split: [0] for split in tables}

    told = build_data.without_labels(tables, rows, of_files=False)

    assert list(tables) == list(rows) == ["train"]
    assert told == [
        f"owner/x, split {name}: has no labels, left out; {split} rows are held out of the training rows"
        for split, name in (("valid", "validation"), ("test", "test"))
    ]


def test_the_configurations_of_a_data_set_in_a_folder(folder, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "cache")
    (folder / "set").mkdir()
    for name in ("one", "two"):
        (folder / f"set/{name}.csv").write_text("text,label\na,x\nb,y\n")
    (folder / "set/README.md").write_text(
        "---\nconfigs:\n- config_name: one\n  data_files: one.csv\n- config_name: two\n  data_files:\n"
        "  - split: test\n    path: two.csv\n---\n"
    )

    def told(config: str | None) -> str:
        with pytest.raises(UserError) as error:
            sources.from_hub(str(folder / "set"), config, "text", "label")
        return str(error.value).removeprefix(f"{folder / 'set'}: ")

    assert told("abstract") == 'no configuration "abstract"; set DATASET_CONFIG to one of one, two'
    assert told(None) == "it has several configurations; set DATASET_CONFIG to one of one, two"
    assert told("two").startswith('no split "train"; its splits are test; another DATASET_CONFIG may have one (there')
    assert sources.from_hub(str(folder / "set"), "one", "text", "label")[0]["train"].labels == ["x", "y"]
    with pytest.raises(UserError, match="is a file; name it with TRAIN_FILE"):
        sources.from_hub(str(folder / "set/one.csv"), None, "text", "label")


def test_a_real_data_set_of_the_datasets_package(folder):
    """The export's layout, one folder a configuration, and a real ClassLabel; from a folder instead of a hub."""
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["x", "y"])})
    for split, labels in (("train", [1, 0, 1]), ("validation", [0]), ("test", [1])):
        for config in ("abstract", "patent"):
            rows = {"text": [f"{config} {split} {number}" for number in range(len(labels))], "label": labels}
            path = folder / "set" / config / split / "0000.parquet"
            path.parent.mkdir(parents=True)
            datasets.Dataset.from_dict(rows, features=features).to_parquet(path)
    loaded = datasets.load_dataset(str(folder / "set"), data_dir="abstract", cache_dir=str(folder / "cache"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets, "load_dataset", lambda *args, **options: loaded)
        tables, _ = sources.from_hub("owner/x", "abstract", "text", "label")

    assert tables["train"].texts == ["abstract train 0", "abstract train 1", "abstract train 2"]
    assert tables["train"].labels == [1, 0, 1]
    assert {split: table.label_names for split, table in tables.items()} == {split: ["x", "y"] for split in tables}
    assert list(tables) == ["train", "valid", "test"]
