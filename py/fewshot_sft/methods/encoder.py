"""``encoder``: the encoder fine-tuned as a classifier, as one would with BERT: 20 epochs, lr 2e-5, 10 % warm-up.

The numbers are those of Mosbach et al., arXiv 2006.04884, for small training sets.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence

import numpy as np

from ..processes import usable_cpus
from ..settings import Settings
from . import Answers, Task, encoders

EPOCHS, RATE, WARMUP, BATCH, TOKENS = 20, 2e-5, 0.1, 16, 256


def model_name(settings: Settings) -> str:
    """Return the encoder's name."""
    return encoders.find(settings)[1]


def answer(tasks: Sequence[Task], settings: Settings) -> Iterator[Answers]:
    """Yield the answers of each task.

    Raises:
        Unavailable: there is no encoder.
    """
    import torch
    from datasets import Dataset
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
        set_seed,
    )

    torch.set_num_threads(usable_cpus())
    folder, _ = encoders.find(settings)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for task in tasks:
        set_seed(task.seed)
        number = {label: index for index, label in enumerate(task.classes)}
        model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=len(number))

        def encoded(texts: Sequence[str], labels: Sequence[int] | None = None) -> Dataset:
            columns = dict(tokenizer(list(texts), truncation=True, max_length=TOKENS))
            return Dataset.from_dict(columns | ({} if labels is None else {"labels": list(labels)}))

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
                use_cpu=settings.device == "cpu",
            )
            data = encoded(task.texts, [number[label] for label in task.labels])
            trainer = Trainer(model, arguments, DataCollatorWithPadding(tokenizer), data)
            trainer.train()
            logits = trainer.predict(encoded(task.asked)).predictions
        probabilities = torch.softmax(torch.tensor(np.asarray(logits)), 1).numpy()
        answers = [task.classes[index] for index in probabilities.argmax(1)]
        yield Answers(answers, probabilities, {"epochs": EPOCHS, "learning_rate": RATE})
