"""``encoder``: the encoder fine-tuned as a classifier, as one would with BERT: 20 epochs, lr 2e-5, 10 % warm-up.

The numbers are those of Mosbach et al., arXiv 2006.04884, for small training sets.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence

import numpy as np

from ..processes import usable_cpus
from ..settings import Settings
from . import Answers, Task, encoders, of_seen, only

EPOCHS, RATE, WARMUP, BATCH, TOKENS = 20, 2e-5, 0.1, 16, 256


def answer(tasks: Sequence[Task], settings: Settings) -> Iterator[Answers]:
    """Return the answers of each task, which are made as they are asked for.

    Raises:
        Unavailable: there is no encoder.
    """
    import torch
    from datasets import Dataset
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        PrinterCallback,
        Trainer,
        TrainingArguments,
        set_seed,
    )

    torch.set_num_threads(usable_cpus())
    folder, _ = encoders.find(settings)
    tokenizer = encoders.load(AutoTokenizer.from_pretrained, folder)

    def encoded(texts: Sequence[str], **more: list[int]) -> Dataset:
        return Dataset.from_dict({**tokenizer(list(texts), truncation=True, max_length=TOKENS), **more})

    def one(task: Task) -> Answers:
        seen = task.seen
        if len(seen) == 1:
            return only(task)
        set_seed(task.seed)
        model = encoders.load(
            lambda each: AutoModelForSequenceClassification.from_pretrained(each, num_labels=len(seen)), folder
        )
        with tempfile.TemporaryDirectory() as scratch:
            arguments = TrainingArguments(
                output_dir=scratch,
                num_train_epochs=EPOCHS,
                learning_rate=RATE,
                warmup_steps=WARMUP,
                per_device_train_batch_size=BATCH,
                per_device_eval_batch_size=64,
                save_strategy="no",
                logging_strategy="no",
                report_to=[],
                disable_tqdm=True,
                seed=task.seed,
                use_cpu=not torch.cuda.is_available(),
            )
            data = encoded(task.texts, labels=[seen.index(label) for label in task.labels])
            trainer = Trainer(model, arguments, DataCollatorWithPadding(tokenizer), data)
            trainer.remove_callback(PrinterCallback)
            trainer.train()
            logits = trainer.predict(encoded(task.asked)).predictions
        probabilities = torch.softmax(torch.tensor(np.asarray(logits, dtype=np.float64)), 1).numpy()
        return of_seen(task, probabilities, {"epochs": EPOCHS, "learning_rate": RATE})

    return map(one, tasks)
