"""``setfit``: the encoder tuned on pairs of texts (Tunstall et al., arXiv 2209.11055), logistic regression on it.

One epoch over all pairs, as the package has it; they grow with the square of the subset, so that the steps are capped.
"""

from __future__ import annotations

import logging
import math
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from ..processes import usable_cpus
from ..settings import Settings
from . import Answers, Task, encoders, of_seen, only

STEPS, BATCH = 500, 16


def answer(tasks: Sequence[Task], settings: Settings) -> Iterator[Answers]:
    """Return the answers of each task, which are made as they are asked for.

    Raises:
        Unavailable: there is no encoder, or the package is not there.
    """
    import torch
    from datasets import Dataset
    from setfit import SetFitModel, Trainer, TrainingArguments
    from transformers import PrinterCallback, ProgressCallback

    logging.getLogger("setfit").setLevel(logging.ERROR)
    torch.set_num_threads(usable_cpus())
    folder, _ = encoders.find(settings)
    device = "cuda" if torch.cuda.is_available() else "cpu"

    def one(task: Task) -> Answers:
        seen = task.seen
        if len(seen) == 1:
            return only(task)
        torch.manual_seed(task.seed)
        steps = min(STEPS, math.ceil(pairs(task) / BATCH))
        model = encoders.load(lambda each: SetFitModel.from_pretrained(each, labels=seen, device=device), folder)
        with tempfile.TemporaryDirectory() as scratch:
            arguments = TrainingArguments(
                output_dir=scratch,
                batch_size=BATCH,
                max_steps=steps,
                seed=task.seed,
                report_to="none",
                show_progress_bar=False,
            )
            data = Dataset.from_dict({"text": list(task.texts), "label": [seen.index(label) for label in task.labels]})
            trainer = Trainer(model, arguments, train_dataset=data)
            for callback in (PrinterCallback, ProgressCallback):  # they print to stdout, which is for results
                trainer.remove_callback(callback)
            trainer.train()
        probabilities = np.asarray(model.predict_proba(list(task.asked), as_numpy=True))
        return of_seen(task, probabilities, {"steps": steps})

    return map(one, tasks)


def pairs(task: Task) -> int:
    """Return how many pairs of texts one epoch has: those of one label and those of two, the fewer repeated."""
    count = len(task.labels)
    alike = sum(each * (each - 1) // 2 for each in Counter(task.labels).values())
    return 2 * max(alike, count * (count - 1) // 2 - alike)
