"""``setfit``: the encoder tuned on pairs of texts (Tunstall et al., arXiv 2209.11055), logistic regression on it.

The package draws all pairs by default, which grows with the square of the subset: its steps are capped.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence

import numpy as np

from ..settings import Settings
from . import Answers, Task, Unavailable, encoders

STEPS, BATCH = 500, 16


def model_name(settings: Settings) -> str:
    """Return the encoder's name."""
    return encoders.find(settings)[1]


def answer(tasks: Sequence[Task], settings: Settings) -> Iterator[Answers]:
    """Yield the answers of each task.

    Raises:
        Unavailable: there is no encoder, or the package is not there.
    """
    try:
        from datasets import Dataset
        from setfit import SetFitModel, Trainer, TrainingArguments
    except ImportError as error:
        raise Unavailable(f"setfit cannot be imported ({error})") from None
    folder, _ = encoders.find(settings)
    for task in tasks:
        seen = [label for label in task.classes if label in set(task.labels)]
        model = SetFitModel.from_pretrained(folder, labels=seen, device="cuda" if settings.device == "gpu" else "cpu")
        with tempfile.TemporaryDirectory() as scratch:
            arguments = TrainingArguments(
                output_dir=scratch, batch_size=BATCH, max_steps=STEPS, seed=task.seed, report_to="none"
            )
            data = Dataset.from_dict({"text": list(task.texts), "label": [seen.index(label) for label in task.labels]})
            Trainer(model, arguments, train_dataset=data).train()
        probabilities = np.zeros((len(task.asked), len(task.classes)))
        columns = [list(task.classes).index(label) for label in seen]
        probabilities[:, columns] = np.asarray(model.predict_proba(list(task.asked), as_numpy=True))
        answers = [task.classes[index] for index in probabilities.argmax(1)]
        yield Answers(answers, probabilities, {"steps": STEPS})
