"""``llm-embedding``: logistic regression on the base model's own hidden states. Buckmann and Hill, arXiv 2408.03414.

Layer and pooling are chosen by cross-validation: the last layer's last token, the usual choice, is often the worst.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from sklearn.preprocessing import StandardScaler

from .. import base_model
from ..errors import UserError
from ..processes import usable_cpus
from ..settings import Settings
from . import Answers, Task, Unavailable, logistic

LAYERS = (0.25, 0.5, 0.75, 1.0)  # of the model's depth
TOKENS = 512  # of a text; what is longer is cut
BATCH = 16


def answer(tasks: Sequence[Task], settings: Settings) -> Iterator[Answers]:
    """Return the answers of each task; every text has gone through the model, once for all of them.

    Raises:
        Unavailable: the base model cannot be loaded.
    """
    states, names = hidden_states(tasks, settings)

    def one(task: Task) -> Answers:
        best: tuple[float, str, Any, Any, dict[str, Any]] | None = None
        for name in names:
            matrix = np.stack([states[text][name] for text in task.texts])
            scaler = StandardScaler().fit(matrix)
            model, facts = logistic.fit(task, scaler.transform(matrix))
            score = facts.get("cross_validated_accuracy", 0.0)
            if best is None or score > best[0]:
                best = score, name, scaler, model, facts
        assert best is not None
        _, name, scaler, model, facts = best
        asked = scaler.transform(np.stack([states[text][name] for text in task.asked]))
        return logistic.answers_of(task, model, asked, {**facts, "layer": name})

    return map(one, tasks)


def hidden_states(tasks: Sequence[Task], settings: Settings) -> tuple[dict[str, dict[str, np.ndarray]], list[str]]:
    """Return for each text its vectors by name, as ``mean of layer 8``, and the names."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    torch.set_num_threads(usable_cpus())
    try:
        tokenizer = base_model.load(AutoTokenizer, settings)
        model = base_model.load(AutoModel, settings, dtype="auto")
    except (OSError, ValueError, UserError) as error:
        raise Unavailable(f"the base model {settings.model} cannot be loaded: {str(error).splitlines()[0]}") from None
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = model.to(device).eval()
    tokenizer.padding_side = "right"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    depth = model.config.num_hidden_layers
    layers = sorted({max(1, round(share * depth)) for share in LAYERS})
    names = [f"{how} of layer {layer}" for layer in layers for how in ("mean", "last token")]
    texts = sorted(dict.fromkeys(text for task in tasks for text in (*task.texts, *task.asked)), key=len)
    found: dict[str, dict[str, np.ndarray]] = {}
    with torch.inference_mode():
        for begin in range(0, len(texts), BATCH):
            batch = texts[begin : begin + BATCH]
            inputs = tokenizer(batch, padding=True, truncation=True, max_length=TOKENS, return_tensors="pt").to(device)
            states = model(**inputs, output_hidden_states=True).hidden_states
            mask = inputs["attention_mask"].unsqueeze(-1)
            last = mask.squeeze(-1).sum(1) - 1
            for layer in layers:
                state = states[layer].float()
                mean = ((state * mask).sum(1) / mask.sum(1)).cpu().numpy()
                token = state[torch.arange(len(batch)), last].cpu().numpy()
                for row, text in enumerate(batch):
                    vectors = found.setdefault(text, {})
                    vectors[f"mean of layer {layer}"], vectors[f"last token of layer {layer}"] = mean[row], token[row]
    return found, names
