"""What a message tells the user to use is there: every flag, setting and file that messages of bin/ and py/ name."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_docs import PROJECT, settings

SETTINGS = {name for name, _, _ in settings()}
FLAG = re.compile(r"(?<![\w\-])--[a-z][a-z_\-]*[a-z]")
NAME = re.compile(r"(?<![\w$./<{\-])[A-Z]{2,}(?:_[A-Z]+)+(?![\w.>])|(?<![\w$./\-])[A-Z]{4,}(?==)")
FILE = re.compile(r"(?<![\w/.\-])(?:bin|py|docs|bench|tests)/[\w/]+\.\w+")
# Of programs that are not installed where the tests run, or that have no list to look into.
FOREIGN_FLAGS = {
    "--name": "any, in a text about their form",
    "--shm-size": "docker run",
    "--tmpfs": "docker run",
    "--local-dir": "hf download",
    "--local_dir": "modelscope download",
    "--model": "modelscope download",
    "--revision": "hf download",
    "--quantization": "vllm serve",
    "--chat-template": "vllm serve",
    "--max-model-len": "vllm serve",
}
FOREIGN_NAMES = {
    "NEW_FOLDER": "a folder of the user's",
    "HF_ENDPOINT": "huggingface_hub",
    "HF_HUB_OFFLINE": "huggingface_hub",
    "HF_TOKEN": "huggingface_hub",
    "HTTPS_PROXY": "every client",
    "UV_DEFAULT_INDEX": "uv",
    "PIP_INDEX_URL": "pip",
    "NVIDIA_DRIVER_CAPABILITIES": "NVIDIA's container toolkit",
}


def python_messages(path: Path) -> Iterator[str]:
    """Yield the strings of a Python file but for docstrings; the parts of an f-string one by one."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


def bash_messages(path: Path) -> list[str]:
    """Return what a script says: the first word after die, say, warn, say_why and note_reason."""
    said = r"""\b(?:die|say|warn|say_why|note_reason) ("(?:[^"\\]|\\.)*"|'[^']*')"""
    return re.findall(said, path.read_text(encoding="utf-8"))


SOURCES = [*PROJECT.glob("py/**/*.py"), *PROJECT.glob("bin/**/*.sh"), *PROJECT.glob("bin/**/*.bash")]
TEXT = {path: path.read_text(encoding="utf-8") for path in SOURCES}
MESSAGES = [
    (path, each)
    for path in SOURCES
    for each in (python_messages(path) if path.suffix == ".py" else bash_messages(path))
    if " " in each  # a flag alone is one of a command or of a parser
]
OF_BIN = {f"--{name.lower().replace('_', '-')}" for name in SETTINGS} | {"--help"}
OF_BIN |= {f for text in TEXT.values() for each in re.findall(r"SCRIPT_FLAGS=\((.*)\)", text) for f in each.split()}


def trainer_flags() -> set[str]:
    """Return the flags of llamafactory-cli train: the fields of its argument classes and of transformers'."""
    folders = {name: Path(importlib.util.find_spec(name).origin).parent for name in ("llamafactory", "transformers")}
    files = [*folders["llamafactory"].glob("hparams/*.py"), folders["transformers"] / "training_args.py"]
    return {f"--{name}" for file in files for name in re.findall(r"^    (\w+): ", file.read_text(), re.MULTILINE)}


def named(pattern: re.Pattern[str]) -> dict[str, set[Path]]:
    """Return what the messages name, and the files whose messages do."""
    found: dict[str, set[Path]] = {}
    for path, message in MESSAGES:
        for each in pattern.findall(message):
            found.setdefault(each, set()).add(path)
    return found


def test_there_are_messages():
    assert len(MESSAGES) > 500
    assert {"--methods", "--force"} <= set(named(FLAG))
    assert {"ENCODING", "LABELS_FILE", "MODEL"} <= set(named(NAME))
    assert "bin/build_data.sh" in named(FILE)


def test_every_flag_is_taken_by_a_script():
    trainer = trainer_flags()

    def is_taken(flag: str, path: Path) -> bool:
        own = path.parent == PROJECT / "py" and f'"{flag}"' in TEXT[path]  # of the script that says it
        return own or flag in OF_BIN or flag in FOREIGN_FLAGS or ("_" in flag and flag in trainer)

    assert [(f, p.name) for f, paths in named(FLAG).items() for p in paths if not is_taken(f, p)] == []


def test_every_setting_is_one():
    def is_read(name: str) -> bool:  # from the environment, by a script
        return any(re.search(rf"\$\{{?{name}\b|environ.*\"{name}\"", text) for text in TEXT.values())

    unknown = {name: paths for name, paths in named(NAME).items() if name not in SETTINGS | set(FOREIGN_NAMES)}
    assert [(name, p.name) for name, paths in unknown.items() for p in paths if not is_read(name)] == []


def test_every_file_is_there():
    assert [(name, paths) for name, paths in named(FILE).items() if not (PROJECT / name).is_file()] == []


@pytest.mark.parametrize(
    ("pattern", "text"), [(FLAG, "use --no-such here"), (NAME, "set NO_SUCH=1"), (FILE, "py/no.py")]
)
def test_what_the_patterns_find(pattern, text):
    assert len(pattern.findall(text)) == 1
