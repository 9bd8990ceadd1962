"""``embedding``: a frozen sentence encoder (ENCODER), logistic regression on its vectors."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..processes import usable_cpus
from ..settings import Settings
from . import Answers, Task, encoders, logistic

SAMPLE = 200  # texts that the share of unknown tokens is counted in
MANY_UNKNOWN = 0.05


def answer(tasks: Sequence[Task], settings: Settings) -> Iterator[Answers]:
    """Return the answers of each task; every text has been encoded, once for all of them.

    Raises:
        Unavailable: there is no encoder.
    """
    encoder = _encoder(settings)
    vectors = encode(encoder, (text for task in tasks for text in (*task.texts, *task.asked)))
    unknown = share_unknown(encoder.tokenizer, tasks)
    if (share := unknown.get("unknown_tokens", 0)) >= MANY_UNKNOWN:
        print(
            f"warning: embedding: {share:.0%} of the tokens of the texts are unknown to the encoder; set ENCODER to "
            "one that knows the language",
            file=sys.stderr,
        )

    def one(task: Task) -> Answers:
        model, facts = logistic.fit(task, np.stack([vectors[text] for text in task.texts]))
        asked = np.stack([vectors[text] for text in task.asked])
        return logistic.answers_of(task, model, asked, {**facts, **unknown})

    return map(one, tasks)


def learn(task: Task, settings: Settings) -> Callable[[Sequence[str]], Answers]:
    """Return what answers to texts, having learnt from the task's.

    Raises:
        Unavailable: there is no encoder.
    """
    encoder = _encoder(settings)

    def matrix(texts: Sequence[str]) -> np.ndarray:
        vectors = encode(encoder, texts)
        return np.stack([vectors[text] for text in texts])

    model, facts = logistic.fit(task, matrix(task.texts))

    def answer_to(texts: Sequence[str]) -> Answers:
        return logistic.answers_of(replace(task, asked=texts), model, matrix(texts), facts)

    return answer_to


def _encoder(settings: Settings) -> Any:
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(usable_cpus())
    folder, _ = encoders.find(settings)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return encoders.load(lambda each: SentenceTransformer(each, device=device), folder)


def encode(encoder: Any, texts: Iterable[str]) -> dict[str, np.ndarray]:
    """Return the vector of each text, of length 1."""
    once = list(dict.fromkeys(texts))
    found = encoder.encode(once, batch_size=64, normalize_embeddings=True, show_progress_bar=False)
    return dict(zip(once, found, strict=True))


def share_unknown(tokenizer: Any, tasks: Sequence[Task]) -> dict[str, float]:
    """Return which share of the tokens the encoder does not know, of a sample of the texts; nothing if it knows all."""
    number = getattr(tokenizer, "unk_token_id", None)
    if number is None:
        return {}
    found = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in tasks[0].asked[:SAMPLE])
    ids = [each for text in found for each in text]
    return {"unknown_tokens": round(ids.count(number) / len(ids), 4)} if ids else {}
