"""The machine: free disk, folders that can be written, GPU memory, the installed packages."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..provenance import PROJECT, versions
from . import Finding, amount
from .model import Size

PACKAGES = ("llamafactory", "torch", "transformers", "peft", "trl", "datasets")


@dataclass(frozen=True)
class Writes:
    """What the sweep will write to one folder."""

    setting: str  # that names the folder
    folder: Path
    size: int  # bytes
    what: str


def folders(named: Mapping[str, Path]) -> list[Finding]:
    """Check that each setting's folder can be written, or made; one finding a problem, or one that all is well."""
    found = []
    for setting, folder in named.items():
        there = _existing(folder)
        if not there.is_dir():
            problem, mend = f"{there} is a file, a folder was expected", f"choose another {setting}"
        elif not _can_be_written(there):
            problem, mend = f"{there} cannot be written", f"check its owner (ls -ld) or choose another {setting}"
        else:
            continue
        found.append(Finding("folders", "problem", problem, mend))
    return found or [Finding("folders", "ok", f"{', '.join(named)} can be written")]


def shared_memory(workers: int, vllm: bool) -> list[Finding]:
    """Return a problem when processes will share locks, several that tokenize or vLLM's, and /dev/shm has none."""
    try:
        if workers > 1 or vllm:
            multiprocessing.get_context("fork").Lock()
    except OSError as error:
        problem = f"/dev/shm cannot be written ({error.strerror}), and processes that work together need it"
        mend = "mount -t tmpfs tmpfs /dev/shm, or in a container --shm-size 8g or --tmpfs /dev/shm"
        if not vllm:
            mend += "; or PREPROCESSING_WORKERS=1 goes without"
        return [Finding("shared memory", "problem", problem, mend)]
    return []


def _can_be_written(folder: Path) -> bool:
    if not os.access(folder, os.W_OK | os.X_OK):
        return False
    before = folder.stat()
    try:  # what access() says of /proc, or to root of a share, is not true
        with tempfile.TemporaryDirectory(prefix=".few-shot-sft-", dir=folder):
            pass
    except OSError:
        return False
    with contextlib.suppress(OSError):  # another's folder; a look leaves no trace where it can
        os.utime(folder, ns=(before.st_atime_ns, before.st_mtime_ns))
    return True


def caches(environment: Mapping[str, str], gpu: bool, vllm: bool) -> dict[str, Path]:
    """Return the caches that trainer and server write to, by the variable that names another."""
    cache = Path(environment.get("XDG_CACHE_HOME") or "~/.cache")
    if environment.get("HF_DATASETS_CACHE"):  # where `datasets` keeps what it has read in, the trainer's examples too
        named = {"HF_DATASETS_CACHE": Path(environment["HF_DATASETS_CACHE"])}
    else:
        named = {"HF_HOME": Path(environment.get("HF_HOME") or cache / "huggingface") / "datasets"}
    if gpu:
        triton = Path(environment.get("TRITON_HOME") or "~") / ".triton/cache"
        inductor = Path(tempfile.gettempdir()) / f"torchinductor_{os.getuid()}"
        named["TRITON_CACHE_DIR"] = Path(environment.get("TRITON_CACHE_DIR") or triton)
        named["TORCHINDUCTOR_CACHE_DIR"] = Path(environment.get("TORCHINDUCTOR_CACHE_DIR") or inductor)
    if gpu and vllm:
        named["VLLM_CACHE_ROOT"] = Path(environment.get("VLLM_CACHE_ROOT") or cache / "vllm")
    return {name: path.expanduser() for name, path in named.items()}


def disk(planned: Iterable[Writes], basis: str) -> list[Finding]:
    """Compare what will be written with what is free, one finding a file system."""
    systems: dict[int, list[Writes]] = {}
    for one in planned:
        systems.setdefault(_existing(one.folder).stat().st_dev, []).append(one)
    found = []
    for writes in systems.values():
        need = sum(one.size for one in writes)
        if not need:
            continue
        free = shutil.disk_usage(_existing(writes[0].folder)).free
        parts = ", ".join(f"{one.what} {amount(one.size)}" for one in writes if one.size)
        message = (
            f"about {amount(need)} will be written to {_existing(writes[0].folder)} ({parts}), {amount(free)} are free"
        )
        settings = " or ".join(dict.fromkeys(one.setting for one in writes if one.size))
        mend = f"free some (du -sh saves/* | sort -h), or set {settings} to a larger disk"
        facts = {"bytes_needed": need, "bytes_free": free, "basis": basis}
        if need > free:
            found.append(Finding("disk", "problem", message, mend, facts))
        elif need > 0.9 * free:
            found.append(Finding("disk", "warning", f"{message}: that is tight", mend, facts))
        else:
            found.append(Finding("disk", "ok", message, facts=facts))
    return found


def training_writes(size: Size, rank: int, runs: int, at_once: int, vllm: bool) -> int:
    """Return the bytes of ``runs`` trainings: adapters in fp32, two checkpoints each, one more being written.

    A checkpoint is the adapter, and Adam's two moments of it. For vLLM an adapter of fused modules is kept twice.
    """
    adapter = round((size.lora or 0) * rank * 4)
    checkpoint = 3 * adapter + size.tokenizer
    return runs * ((1 + vllm) * adapter + size.tokenizer + 2 * checkpoint) + min(runs, at_once) * checkpoint


def weights_fit(size: Size, bits: int, hardware: Mapping[str, Any]) -> list[Finding]:
    """Compare the model's weights with the largest GPU, where nothing else is known to plan with."""
    if not hardware["gpus"] or not size.parameters:
        return []
    memory = max(gpu["memory_bytes"] for gpu in hardware["gpus"])
    weights = size.parameters * bits / 8
    message = f"{size.parameters / 1e9:.1f} billion parameters at {bits} bits take {amount(weights)}"
    message += f" of the GPU's {amount(memory)}"
    facts = {"bytes_weights": round(weights), "bytes_memory": round(memory), "basis": size.basis}
    if weights <= memory:
        return [Finding("GPU memory", "ok", message, facts=facts)]
    mend = "take a smaller MODEL, a larger GPU, or QUANTIZATION=4"
    return [Finding("GPU memory", "problem", message, mend, facts)]


def packages(lock: Path, names: Sequence[str], parts: str) -> list[Finding]:
    """Compare the installed packages with the lock's pins; ``parts`` is what bin/setup.sh is to install."""
    pins = dict(re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", lock.read_text(encoding="utf-8"), re.MULTILINE))
    installed = versions(names)
    wrong = []
    for name in names:
        found = installed.get(name, "").partition("+")[0]  # 2.11.0+cpu is 2.11.0
        if name in pins and found != pins[name]:
            wrong.append(f"{name} {found or 'is missing,'} {'is installed, ' if found else ''}{pins[name]} is pinned")
    if not wrong:
        return [Finding("packages", "ok", f"{', '.join(names)} are as requirements.lock pins them")]
    stamp = Path(sys.prefix) / ".few-shot-sft"
    stamp = stamp.relative_to(PROJECT) if stamp.is_relative_to(PROJECT) else stamp
    mend = f"install them again: rm -f '{stamp}' && bin/setup.sh{parts}"
    return [Finding("packages", "problem", "; ".join(wrong), mend)]


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())
