"""The base model: whether all of it can be had, and how large it is."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from .. import hub
from ..errors import UserError
from ..identity import read_record
from ..jsonio import read_json
from . import Finding, Result

TOKENIZERS = ("tokenizer.json", "tokenizer.model", "*.tiktoken", "vocab.json", "vocab.txt", "spiece.model")
NO_ADAPTER = re.compile(r"embed|wte|wpe|lm_head|output_layer|norm|visual|vision")
ADAPTER = "adapter_config.json"
TIMEOUT = 5.0
DESCRIPTION = ("config.json", "tokenizer.json")  # what a plan is made of, a few MB
# Where no shapes are at hand: GLM-4-9B and Qwen2.5-7B have 0.22 % and 0.27 % at rank 8 on all linear layers.
LORA_SHARE_PER_RANK = 0.003 / 8


@dataclass(frozen=True)
class Size:
    """How large a model is; what could not be found out is None."""

    weights: int | None = None  # bytes on disk
    parameters: int | None = None
    lora: float | None = None  # parameters of an adapter, for each rank
    tokenizer: int = 0  # bytes on disk: every adapter and checkpoint gets a copy
    download: int = 0  # bytes that are not here yet
    basis: str = "unknown"
    modules: tuple[str, ...] = field(default=(), compare=False, repr=False)  # that may get an adapter, by their paths


def check_folder(folder: Path, target: str) -> tuple[Finding, Size]:
    """Check that a model's folder holds configuration, weights and tokenizer; ``target`` is LORA_TARGET."""
    names = {path.name for path in folder.iterdir() if path.is_file()}
    if (
        finding := _no_model(str(folder), names, read_record(folder / ADAPTER).get("base_model_name_or_path"))
    ) is not None:
        return finding, Size()
    missing = [] if "config.json" in names else ["config.json"]
    if not any(fnmatch(name, pattern) for name in names for pattern in TOKENIZERS):
        missing.append("a tokenizer (tokenizer.json)")
    try:
        weights, size = _weights(folder, names, target)
        missing += weights
    except UserError as error:
        return _problem(str(error)), Size()
    if missing:
        return _problem(f"{folder}: incomplete, it lacks {', '.join(missing)}"), size
    tokenizer = sum((folder / name).stat().st_size for name in names if any(fnmatch(name, each) for each in TOKENIZERS))
    return Finding("model", "ok", f"{folder} is complete"), replace(size, tokenizer=tokenizer)


def _no_model(name: str, files: Collection[str], base: object) -> Finding | None:
    """Return the finding that files are no model that can be trained, but an adapter or a GGUF; else None."""
    if any(file.endswith((".safetensors", ".bin")) and not file.startswith("adapter_") for file in files):
        return None
    if ADAPTER in files:
        mend = f"set MODEL to its base model, {base}" if base else "set MODEL to the model that it was trained from"
        return Finding("model", "problem", f"{name} is an adapter", mend)
    if any(file.lower().endswith(".gguf") for file in files):
        mend = "set MODEL to the model that it was made from, with *.safetensors files"
        return Finding("model", "problem", f"{name}: a GGUF cannot be trained", mend)
    return None


def check_file(file: Path) -> Finding:
    """Return the finding about a MODEL that is a file."""
    mend = f"set MODEL to its folder, {file.parent}"
    return _no_model(str(file), [file.name], None) or Finding("model", "problem", f"{file} is a file", mend)


def check_target(target: str, modules: Collection[str]) -> Finding:
    """Check that the model has each module of LORA_TARGET; ``modules`` are the paths of those that it has, if known.

    peft takes a name for all modules whose path ends with it. One that is nowhere it leaves out in silence, unless all
    are.
    """
    names = [name.strip() for name in target.split(",")]
    if names == ["all"] or not modules:
        return Finding("LORA_TARGET", "ok", target if modules else f"{target} is not compared with the model's modules")
    unknown = [name for name in names if not any(f".{module}".endswith(f".{name}") for module in modules)]
    if not unknown:
        return Finding("LORA_TARGET", "ok", f"the model has {', '.join(names)}")
    there = sorted({module.rpartition(".")[2] for module in modules if not NO_ADAPTER.search(module)})
    # Experts are other modules in transformers than in the files.
    result: Result = "warning" if any(".experts." in module for module in modules) else "problem"
    what = f"the model has no module {', '.join(map(repr, unknown))}; it has {', '.join(there[:12])}"
    return Finding("LORA_TARGET", result, what, "take of these, with commas between them, or LORA_TARGET=all")


def check_hugging_face(
    name: str, target: str, endpoint: str, environment: Mapping[str, str], revision: str = ""
) -> tuple[Finding, Size]:
    """Check that a model of Hugging Face's hub is in the cache, or can be fetched from ``endpoint``.

    What describes the model is fetched then, so that the first night on a machine has a plan, too.
    """
    import huggingface_hub.constants  # imported here: a local model does without it

    try:
        commit = hub.commit(name, revision, endpoint) or None
    except UserError as error:
        return Finding.of_error("model", error), Size()
    cached = huggingface_hub.try_to_load_from_cache(
        name, "config.json", cache_dir=huggingface_hub.constants.HF_HUB_CACHE, revision=commit
    )
    if isinstance(cached, str):
        in_cache, size = check_folder(Path(cached).parent, target)
        if in_cache.result == "ok":
            return Finding("model", "ok", f"{name} is in the cache, {Path(cached).parent}"), size
    if hub.is_offline(environment):
        what = "is not whole in the cache" if cached else "is not in the cache"
        return Finding("model", "problem", f"{name} {what} and HF_HUB_OFFLINE=1 forbids to fetch it", _GET), Size()
    try:
        api = huggingface_hub.HfApi(endpoint=endpoint)
        info = api.model_info(name, revision=commit, timeout=TIMEOUT, files_metadata=True)
    except Exception as error:  # whatever the client raises: a dozen types over three libraries
        return _unreachable(name, endpoint, error), Size()
    base = getattr(info.card_data, "base_model", None) if info.card_data else None
    files = [each.rfilename for each in info.siblings or ()]
    if (finding := _no_model(name, files, base[0] if isinstance(base, list) else base)) is not None:
        return finding, Size()
    if info.gated and not huggingface_hub.get_token():
        return Finding("model", "problem", *hub.gated(name, endpoint)), Size()
    sizes = {each.rfilename: each.size or 0 for each in info.siblings or ()}
    download = sum(size for file, size in sizes.items() if file.endswith(".safetensors"))
    download = download or sum(size for file, size in sizes.items() if file.endswith(".bin"))
    parameters = info.safetensors.total if info.safetensors else (download // 2 or None)
    for file in sizes.keys() & set(DESCRIPTION):
        with contextlib.suppress(Exception):  # it can be planned without
            huggingface_hub.hf_hub_download(
                name,
                file,
                revision=commit,
                endpoint=endpoint,
                cache_dir=huggingface_hub.constants.HF_HUB_CACHE,
                etag_timeout=TIMEOUT,
            )
    size = Size(download or None, parameters, None, download=download, basis=f"what {endpoint} says of its files")
    return Finding("model", "ok", f"{name} can be fetched from {endpoint}"), _with_share(size)


def check_modelscope(name: str, endpoint: str, cache: Path, target: str) -> tuple[Finding, Size]:
    """Check that a model of ModelScope's hub is in the cache, or is known to ``endpoint``.

    What describes the model is fetched then.
    """
    import urllib.request  # imported here, for 50 ms: a local model does without it

    for folder in modelscope_folders(name, cache):
        if folder.is_dir():
            finding, size = check_folder(folder, target)
            if finding.result == "ok":
                return Finding("model", "ok", f"{name} is in the cache, {folder}"), size
    try:
        with urllib.request.urlopen(f"{endpoint}/api/v1/models/{name}", timeout=TIMEOUT) as answer:
            answer.read(1)
    except (OSError, ValueError) as error:
        return _unreachable(name, endpoint, error), Size()
    with contextlib.suppress(Exception):  # it can be planned without
        from modelscope.hub.file_download import model_file_download

        for file in DESCRIPTION:
            model_file_download(name, file)
    return Finding("model", "ok", f"{name} can be fetched from {endpoint}"), Size()


_GET = "fetch it where there is a network (hf download OWNER/NAME --local-dir FOLDER) and set MODEL=FOLDER"


def _problem(what: str) -> Finding:
    return Finding("model", "problem", what, _AGAIN)


# Never into the user's own folder.
_AGAIN = "fetch it again (hf download OWNER/NAME --local-dir NEW_FOLDER) and set MODEL=NEW_FOLDER"


def _unreachable(name: str, endpoint: str, error: Exception) -> Finding:
    """Return the finding that a hub does not give the model, or does not answer."""
    if told := hub.refusal(name, "model", "MODEL", error, endpoint):
        return Finding("model", "problem", *told)
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    message = f"{name} is not in the cache and {endpoint} does not answer ({reason})"
    mend = (
        "check the network and HTTPS_PROXY, set HF_ENDPOINT to a mirror or USE_MODELSCOPE_HUB=1, or MODEL to a folder"
    )
    return Finding("model", "problem", message, mend)


def _weights(folder: Path, names: set[str], target: str) -> tuple[list[str], Size]:
    """Return what is missing of the weights, and the size of those that are there.

    Raises:
        UserError: a file is damaged.
    """
    for index in ("model.safetensors.index.json", "pytorch_model.bin.index.json"):
        if index in names:
            found = read_json(folder / index)
            listed = found.get("weight_map") if isinstance(found, dict) else None
            if not isinstance(listed, dict):
                raise UserError(f"{folder / index}: damaged, it lists no weights")
            missing = sorted(set(listed.values()) - names)
            if missing:
                return missing, Size()
    files = sorted(name for name in names if name.endswith(".safetensors") and not name.startswith("adapter_"))
    if files:
        shapes: dict[str, list[int]] = {}
        for name in files:
            shapes |= _shapes(folder / name)
        return [], Size(
            weights=sum((folder / name).stat().st_size for name in files),
            parameters=sum(math.prod(shape) for shape in shapes.values()),
            lora=sum(sum(shape) for name, shape in shapes.items() if _gets_adapter(name, shape, target)),
            basis="the shapes in its safetensors files",
            modules=tuple(name.rpartition(".")[0] for name, shape in shapes.items() if len(shape) > 1),
        )
    files = sorted(name for name in names if name.startswith("pytorch_model") and name.endswith(".bin"))
    if not files:
        return ["weights (*.safetensors)"], Size()
    total = sum((folder / name).stat().st_size for name in files)
    return [], _with_share(Size(total, total // 2, basis="its files' size, at 2 bytes a parameter"))


def _with_share(size: Size) -> Size:
    if size.parameters is None:
        return size
    basis = f"{size.basis}, the adapter taken as {LORA_SHARE_PER_RANK * 8:.1%} of the parameters at rank 8"
    return replace(size, lora=size.parameters * LORA_SHARE_PER_RANK, basis=basis)


def _shapes(path: Path) -> dict[str, list[int]]:
    """Return the shapes of a safetensors file's tensors, from its header.

    Raises:
        UserError: the file is shorter than its header says, or has none.
    """
    try:
        with path.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > 100_000_000:  # the format's own limit
                raise ValueError
            header: dict[str, Any] = json.loads(stream.read(length))
        header.pop("__metadata__", None)
        end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
        shapes = {name: entry["shape"] for name, entry in header.items()}
    except (struct.error, ValueError, KeyError, TypeError, AttributeError, IndexError):
        raise UserError(f"{path}: damaged, not a safetensors file") from None
    if path.stat().st_size < 8 + length + end:
        raise UserError(f"{path}: cut short, it has {path.stat().st_size:,} of {8 + length + end:,} bytes")
    return shapes


def _gets_adapter(name: str, shape: list[int], target: str) -> bool:
    if len(shape) != 2 or not name.endswith(".weight") or NO_ADAPTER.search(name):
        return False
    return target == "all" or name.split(".")[-2] in [each.strip().rpartition(".")[2] for each in target.split(",")]


def size_of(folder: Path, target: str) -> Size:
    """Return how large the model in a folder is, as far as its weights are there; ``target`` is LORA_TARGET.

    Raises:
        UserError: a file is damaged.
    """
    return _weights(folder, {path.name for path in folder.iterdir() if path.is_file()}, target)[1]


def modelscope_folders(name: str, cache: Path | None = None) -> list[Path]:
    """Return the folders that ModelScope may keep a model in, in the order in which its client looks."""
    cache = cache or modelscope_cache()
    since_1_38 = cache / "models" / name.replace("/", "--") / "snapshots/master"
    old = Path(name).with_name(Path(name).name.replace(".", "___"))
    return [cache / "models" / old, cache / "hub/models" / old, since_1_38, cache / "hub" / old]


def modelscope_cache() -> Path:
    """Return the folder that ModelScope keeps models in."""
    return Path(os.environ.get("MODELSCOPE_CACHE") or Path.home() / ".cache/modelscope")
