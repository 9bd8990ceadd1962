"""What `llamafactory-cli train` leaves in its output folder, with numbers that fit together, or that do not.

The behaviour, its first argument:

    ok           train                               count=K  the trainer had K examples
    exit         end with status 1                   nan      a loss is not a number
    crash        ValueError, status 1                zero     the losses are exactly 0
    memory       CUDA out of memory, status 1        wait     tell the test, wait for it, then train
    disk         no space left, status 1             stubborn the same, deaf to TERM
    killed       end by SIGKILL                      midway   leave two checkpoints, one of them torn, and wait
    breaks       log a loss that is not a number, and go on for as long as it may
    child        train, and leave a child behind that is deaf to TERM
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
import shutil
import signal
import struct
import sys
import zipfile
from pathlib import Path

import latch

MEMORY = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."


def main(behaviour: str, size: str, words: list[str]) -> None:
    """Behave."""
    flags = dict(zip(words[::2], words[1::2], strict=True))
    folder = Path(flags["--output_dir"])
    rows = json.loads((Path(flags["--dataset_dir"]) / f"{flags['--dataset']}.json").read_text(encoding="utf-8"))
    folder.mkdir(parents=True, exist_ok=True)
    resumed_at = max((int(path.name.partition("-")[2]) for path in folder.glob("checkpoint-*")), default=0)
    endings = {"exit": "stub: no reason", "crash": "ValueError: bad luck", "memory": MEMORY}
    if behaviour in endings:
        sys.exit(endings[behaviour])
    if behaviour == "disk":
        sys.exit("OSError: [Errno 28] No space left on device: 'model.safetensors'")
    if behaviour == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if behaviour == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if behaviour == "midway":
        checkpoint(folder / "checkpoint-2", rows)
        checkpoint(folder / "checkpoint-4", rows)
        (folder / "checkpoint-4/optimizer.pt").write_bytes(b"torn")
        log(folder, [2.0, 1.5, 1.2, 1.1])
    if behaviour == "breaks":
        log(folder, [2.0, math.nan])
        latch.forever()
    if behaviour in ("wait", "stubborn", "midway"):
        latch.wait(f"train {size}")
    if behaviour == "child":
        latch.deaf_child()
    seen = int(behaviour.removeprefix("count=")) if behaviour.startswith("count=") else len(rows)
    train(folder, flags, rows, seen, {"nan": math.nan, "zero": 0.0}.get(behaviour), resumed_at)


def train(
    folder: Path, flags: dict[str, str], rows: list[dict[str, str]], seen: int, loss: float | None, resumed_at: int
) -> None:
    """Leave what the trainer leaves that went on from a step; ``loss`` in place of a plausible one."""
    epochs = float(flags["--num_train_epochs"])
    batch = int(flags["--per_device_train_batch_size"]) * int(flags["--gradient_accumulation_steps"])
    steps = math.ceil(math.ceil(seen / batch) * epochs)
    losses = [3 / (step + 1) if loss is None else loss for step in range(steps)]
    log(folder, losses)
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": steps, "max_steps": steps}))
    results = {
        "epoch": epochs,
        "train_loss": sum(losses[resumed_at:]) / len(losses),  # as transformers does after a resume
        "train_runtime": 2.0,
        "train_samples_per_second": round(seen * epochs / 2, 3),
    }
    (folder / "all_results.json").write_text(json.dumps(results))
    weights(folder, rows)
    if flags["--finetuning_type"] == "full":  # a whole model
        for name in ("config.json", "tokenizer.json"):
            shutil.copy(Path(flags["--model_name_or_path"]) / name, folder)
    if "--tokenized_path" in flags:
        tokenized(Path(flags["--tokenized_path"]), [len(json.dumps(row).split()) for row in (rows * seen)[:seen]])


def log(folder: Path, losses: list[float]) -> None:
    """Write trainer_log.jsonl, whose last line has no loss."""
    total = len(losses)
    entries = [{"current_steps": step, "total_steps": total, "loss": loss} for step, loss in enumerate(losses, 1)]
    entries.append({"current_steps": total, "total_steps": total})
    (folder / "trainer_log.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))


def weights(folder: Path, rows: list[dict[str, str]]) -> None:
    """Write an adapter that the data decides."""
    value = 1 + int.from_bytes(hashlib.sha256(json.dumps(rows).encode()).digest()[:2])
    header = {"layer.lora_B.weight": {"dtype": "F32", "shape": [1, 2], "data_offsets": [0, 8]}}
    text = json.dumps(header).encode()
    content = struct.pack("<Q", len(text)) + text + struct.pack("<2f", value, value)
    (folder / "adapter_model.safetensors").write_bytes(content)
    (folder / "model.safetensors").write_bytes(content)
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')


def checkpoint(folder: Path, rows: list[dict[str, str]]) -> None:
    """Write a whole checkpoint."""
    folder.mkdir()
    weights(folder, rows)
    for name in ("optimizer.pt", "scheduler.pt"):
        with zipfile.ZipFile(folder / name, "w") as archive:
            archive.writestr("data", b"x")
    (folder / "trainer_state.json").write_text("{}")


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
