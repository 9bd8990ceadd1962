"""``embedding``: a frozen sentence encoder (ENCODER), logistic regression on its vectors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..processes import usable_cpus
from ..settings import Settings
from . import Answers, Task, encoders, logistic


def model_name(settings: Settings) -> str:
    """Return the encoder's name."""
    return encoders.find(settings)[1]


def answer(tasks: Sequence[Task], settings: Settings) -> Iterator[Answers]:
    """Yield the answers of each task; every text is encoded once for all of them.

    Raises:
        Unavailable: there is no encoder.
    """
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(usable_cpus())

    folder, _ = encoders.find(settings)
    encoder = SentenceTransformer(folder, device="cuda" if settings.device == "gpu" else "cpu")
    vectors = encode(encoder, tasks)
    unknown = share_unknown(encoder.tokenizer, tasks)
    for task in tasks:
        matrix = np.stack([vectors[text] for text in task.texts])
        model, facts = logistic.fit(task, matrix)
        asked = np.stack([vectors[text] for text in task.asked])
        yield logistic.answers_of(task, model, asked, {**facts, **unknown})


def encode(encoder: object, tasks: Sequence[Task]) -> dict[str, np.ndarray]:
    """Return the vector of each text of the tasks, of length 1."""
    texts = list(dict.fromkeys(text for task in tasks for text in (*task.texts, *task.asked)))
    found = encoder.encode(texts, batch_size=64, normalize_embeddings=True, show_progress_bar=False)  # type: ignore[attr-defined] # no types
    return dict(zip(texts, found, strict=True))


SAMPLE = 200  # texts


def share_unknown(tokenizer: object, tasks: Sequence[Task]) -> dict[str, float]:
    """Return which share of the words the encoder's tokenizer does not know at all, of a sample of the texts."""
    number = getattr(tokenizer, "unk_token_id", None)
    if number is None:
        return {}
    ids = [each for text in tasks[0].asked[:SAMPLE] for each in tokenizer(text)["input_ids"]]  # type: ignore[operator] # no types
    return {"unknown_tokens": round(ids.count(number) / max(len(ids), 1), 4)}
