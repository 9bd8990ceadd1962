"""`llamafactory-cli train`: what it leaves in its output folder, with numbers that fit together, or that do not.

tests/test_stubs.py holds it to what the real one does. The behaviour, its first argument:

    ok           train                               count=K  the trainer had K examples
    exit         end with status 1                   zero     the losses are exactly 0
    crash        ValueError, status 1                wait     tell the test, wait for it, then train
    memory       CUDA out of memory, status 1        stubborn the same, deaf to TERM, which it tells the test
    disk         no space left, status 1             midway   leave two checkpoints, one of them torn, and wait
    breaks       log a loss that is not a number, and go on for as long as it may
    child        train, and leave a child behind that is deaf to TERM
    held=FILE    train, but when this file of the output folder is written tell the test and wait for it
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
import shutil
import signal
import struct
import sys
import zipfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import latch

MEMORY = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
PROJECT = Path(__file__).resolve().parents[2]
ADAPTER = "adapter_model.safetensors"


def main(behaviour: str, size: str, words: list[str]) -> None:
    """Behave."""
    endings = {"exit": "stub: no reason", "crash": "ValueError: bad luck", "memory": MEMORY}
    if behaviour in endings:
        sys.exit(endings[behaviour])
    if behaviour == "disk":
        sys.exit("OSError: [Errno 28] No space left on device: 'model.safetensors'")
    flags = dict(zip(words[::2], words[1::2], strict=True))
    folder = Path(flags["--output_dir"])
    rows = examples(flags)
    checkpoints = {int(path.name.partition("-")[2]): path for path in folder.glob("checkpoint-*")}
    if not checkpoints and any((folder / name).exists() for name in (ADAPTER, "model.safetensors")):
        sys.exit("ValueError: Output directory already exists and is not empty. Please set `overwrite_output_dir`.")
    folder.mkdir(parents=True, exist_ok=True)
    if behaviour == "stubborn":
        signal.signal(signal.SIGTERM, lambda *_: latch.reached(f"train {size} was told to end"))
    if behaviour == "midway":
        log(folder, [(step, 3 / step) for step in (1, 2, 3, 4)], 4)
        checkpoint(folder, 2, 4, rows)
        checkpoint(folder, 4, 4, rows)
        (folder / "checkpoint-4/optimizer.pt").write_bytes(b"torn")
    if behaviour == "breaks":
        log(folder, [(1, 2.0), (2, math.nan)], 2)
        latch.forever()
    if behaviour in ("wait", "stubborn", "midway"):
        latch.wait(f"train {size}")
    if behaviour == "midway":  # not ended there: it trains as if it had left nothing yet
        shutil.rmtree(folder / "checkpoint-4")
        shutil.rmtree(folder / "checkpoint-2")
        (folder / "trainer_log.jsonl").unlink()
    if behaviour == "child":
        latch.deaf_child()
    what, _, value = behaviour.partition("=")
    seen = int(value) if what == "count" else len(rows)
    loss = 0.0 if behaviour == "zero" else None
    for written in train(folder, flags, rows, seen, loss, max(checkpoints, default=0)):
        if behaviour == f"held={written}":
            latch.wait(f"train {size}")


def known_flags() -> set[str]:
    """Return the flags of the real trainer, from its sources (an import takes seconds), and of py/fast_trainer.py."""
    files = [*Path(find_spec("llamafactory").origin).parent.glob("hparams/*.py")]
    files.append(Path(find_spec("transformers").origin).with_name("training_args.py"))
    fields = {name for file in files for name in re.findall(r"^    (\w+):", file.read_text(encoding="utf-8"), re.M)}
    ours = re.findall(r"--(\w+)", (PROJECT / "bin/train.sh").read_text(encoding="utf-8"))
    return {f"--{name}" for name in {*fields, *ours}}


def examples(flags: dict[str, str]) -> list[dict[str, str]]:
    """Return the data set's rows; a flag or a data set that is not known is an error."""
    if unknown := sorted(flags.keys() - known_flags()):
        sys.exit(f"ValueError: Some specified arguments are not used by the HfArgumentParser: {unknown}")
    folder, name = Path(flags["--dataset_dir"]), flags["--dataset"]
    if name not in json.loads((folder / "dataset_info.json").read_text(encoding="utf-8")):
        sys.exit(f"ValueError: Undefined dataset {name} in dataset_info.json.")
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))


def train(
    folder: Path, flags: dict[str, str], rows: list[dict[str, str]], seen: int, loss: float | None, resumed_at: int
) -> Iterator[str]:
    """Leave what the trainer leaves that went on from a step, in its order; ``loss`` in place of a plausible one.

    Yields:
        the name of each file when it is written.
    """
    epochs = float(flags["--num_train_epochs"])
    batch = int(flags["--per_device_train_batch_size"]) * int(flags["--gradient_accumulation_steps"])
    steps = math.ceil(math.ceil(seen / batch) * epochs)
    if (most := int(flags.get("--max_steps", -1))) > 0:
        steps, epochs = most, most / math.ceil(seen / batch)
    if "--tokenized_path" in flags and not Path(flags["--tokenized_path"]).exists():
        tokenized(Path(flags["--tokenized_path"]), [len(json.dumps(row).split()) for row in (rows * seen)[:seen]])
        yield "tokenized"
    losses = {step: 3 / step if loss is None else loss for step in range(resumed_at + 1, steps + 1)}
    for step, each in losses.items():
        log(folder, [(step, each)], steps)
        if flags.get("--save_strategy") != "no" and (step % int(flags["--save_steps"]) == 0 or step == steps):
            checkpoint(folder, step, steps, rows)
            found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.partition("-")[2]))
            for old in found[: -int(flags["--save_total_limit"])]:
                shutil.rmtree(old)
    log(folder, [(steps, None)], steps)
    yield "trainer_log.jsonl"
    weights(folder, rows)
    yield ADAPTER
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    if flags["--finetuning_type"] == "full":  # a whole model
        for name in ("config.json", "tokenizer.json"):
            shutil.copy(Path(flags["--model_name_or_path"]) / name, folder)
    results = {
        "epoch": epochs,
        "train_loss": sum(losses.values()) / steps,  # as transformers does after a resume
        "train_runtime": 2.0,
        "train_samples_per_second": round(seen * epochs / 2, 3),
    }
    for name in ("train_results.json", "all_results.json"):
        (folder / name).write_text(json.dumps(results))
        yield name
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": steps, "max_steps": steps}))
    yield "trainer_state.json"
    if flags.get("--plot_loss") == "True":
        (folder / "training_loss.png").write_bytes(b"a picture")
    yield "training_loss.png"


def log(folder: Path, entries: list[tuple[int, float | None]], total: int) -> None:
    """Append to trainer_log.jsonl; an entry without a loss is the last one."""
    with (folder / "trainer_log.jsonl").open("a") as stream:
        for step, loss in entries:
            entry: dict[str, Any] = {"current_steps": step, "total_steps": total}
            stream.write(json.dumps(entry | ({} if loss is None else {"loss": loss})) + "\n")


def weights(folder: Path, rows: list[dict[str, str]]) -> None:
    """Write an adapter that the data decides."""
    value = 1 + int.from_bytes(hashlib.sha256(json.dumps(rows).encode()).digest()[:2])
    header = {"layer.lora_B.weight": {"dtype": "F32", "shape": [1, 2], "data_offsets": [0, 8]}}
    text = json.dumps(header).encode()
    content = struct.pack("<Q", len(text)) + text + struct.pack("<2f", value, value)
    (folder / ADAPTER).write_bytes(content)
    (folder / "model.safetensors").write_bytes(content)


def checkpoint(run: Path, step: int, steps: int, rows: list[dict[str, str]]) -> None:
    """Write a whole checkpoint."""
    folder = run / f"checkpoint-{step}"
    folder.mkdir()
    weights(folder, rows)
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        with zipfile.ZipFile(folder / name, "w") as archive:
            archive.writestr("data", b"x")
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": step, "max_steps": steps}))


def tokenized(folder: Path, lengths: list[int]) -> None:
    """Write what `datasets` saves for a DatasetDict whose split "train" has examples of these lengths."""
    import pyarrow

    def numbers(values: list[int]) -> pyarrow.Array:  # pyarrow.array would import pandas, in half a second
        content = pyarrow.py_buffer(struct.pack(f"<{len(values)}i", *values))
        return pyarrow.Array.from_buffers(pyarrow.int32(), len(values), [None, content])

    offsets = [0, *itertools.accumulate(lengths)]
    column = pyarrow.ListArray.from_arrays(numbers(offsets), numbers([1] * offsets[-1]))
    table = pyarrow.table({"input_ids": column})
    (folder / "train").mkdir(parents=True)
    (folder / "dataset_dict.json").write_text('{"splits": ["train"]}')
    arrow = "data-00000-of-00001.arrow"
    with pyarrow.OSFile(str(folder / "train" / arrow), "wb") as sink, pyarrow.ipc.new_stream(sink, table.schema) as to:
        to.write_table(table)
    feature = {"input_ids": {"feature": {"dtype": "int32", "_type": "Value"}, "_type": "List"}}
    (folder / "train/dataset_info.json").write_text(json.dumps({"features": feature}))
    state = {"_data_files": [{"filename": arrow}], "_fingerprint": "0", "_format_columns": None, "_format_kwargs": {}}
    state |= {"_format_type": None, "_output_all_columns": False, "_split": None}
    (folder / "train/state.json").write_text(json.dumps(state))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
