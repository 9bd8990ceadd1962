"""The labels' probabilities without a server: base model and adapters through transformers and peft, in one process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from .. import base_model
from ..planning import facts
from ..processes import usable_cpus
from ..runs import K_SHOT, Run
from ..serving import label_tokens
from ..serving.label_tree import Found, LabelTree, Prefix
from ..settings import Settings
from . import shots
from .questions import EvaluationSet, Item

TOKENS = 8192  # of a batch, with its padding


def masses(
    chosen: Sequence[Run], data: EvaluationSet, settings: Settings
) -> Iterator[tuple[Run, list[tuple[float, ...]]]]:
    """Yield each run with the probabilities of the labels, items x labels, as :class:`LabelTree` has them.

    Args:
        chosen: runs of one base model.
        data: what is asked.
        settings: of the sweep.

    Raises:
        UserError: the labels have no tokens of their own.
    """
    torch.set_num_threads(usable_cpus())
    settings = settings.but(MODEL=str(facts.model_folder(settings) or settings.model))
    template, tokenizer = label_tokens.template_of(settings)
    tokens = label_tokens.tokens(data.labels, template, tokenizer)
    tree = LabelTree(tokens, sorted(template.get_stop_token_ids(tokenizer)))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model: Any = base_model.load(AutoModelForCausalLM, settings, dtype="auto").to(device).eval()
    plain = [prompt_of(template, tokenizer, item) for item in data.items]
    for run in sorted(chosen, key=lambda each: each.is_trained):  # the base model before it has any adapter
        prompts = plain
        if run.method == K_SHOT:
            examples = shots.choose(run, data.items)
            prompts = [prompt_of(template, tokenizer, item, examples) for item in data.items]
        if not run.is_trained:
            yield run, _of_prompts(model, tree, prompts)
            continue
        if isinstance(model, PeftModel):
            model.load_adapter(str(run.adapter), run.name)
            model.set_adapter(run.name)
        else:
            model = PeftModel.from_pretrained(model, str(run.adapter), run.name).eval()
        yield run, _of_prompts(model, tree, prompts)
        model.base_model.delete_adapter(run.name)


def prompt_of(template: Any, tokenizer: Any, item: Item, examples: Sequence[tuple[str, str]] = ()) -> list[int]:
    """Return the tokens of a prompt, as LLaMA-Factory's server has them."""
    turns = [
        turn
        for human, answer in (*examples, (item.input, ""))
        for turn in ({"role": "user", "content": human}, {"role": "assistant", "content": answer})
    ]
    return list(template.encode_oneturn(tokenizer, turns, item.instruction or None)[0])


def _of_prompts(model: Any, tree: LabelTree, prompts: Sequence[Sequence[int]]) -> list[tuple[float, ...]]:
    known: list[dict[Prefix, Found]] = [{} for _ in prompts]
    start = _Start(model, prompts)
    for twig in tree.twigs:
        # Along a twig are all prefixes that it begins with.
        parts = [twig[:length] for length in range(len(twig) + 1)]
        asked = [tree.branches[part].asked for part in parts]
        for batch in _batches([len(prompt) + len(twig) for prompt in prompts]):
            rows = start.next_tokens([[*prompts[index], *twig] for index in batch], len(parts))
            for index, row in zip(batch, rows, strict=True):
                for part, tokens, probabilities in zip(parts, asked, row, strict=True):
                    known[index][part] = dict(zip(tokens, probabilities[list(tokens)].tolist(), strict=True))
    found = []
    for each in known:
        found.append(tuple(tree.masses(each)[0]))
    return found


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yield items of about the same length, up to TOKENS a batch."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and lengths[index] * (len(batch) + 1) > TOKENS:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


class _Start:
    """What all prompts begin with, the instruction: it goes through the model once."""

    @torch.inference_mode()
    def __init__(self, model: Any, prompts: Sequence[Sequence[int]]) -> None:
        self._model = model
        first, last = min(map(list, prompts)), max(map(list, prompts))
        common = next((at for at, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), len(first))
        self._length = min(common, min(map(len, prompts)) - 1)
        ids = torch.tensor([first[: self._length]], device=model.device)
        self._cache = model(input_ids=ids, use_cache=True).past_key_values if self._length > 0 else None

    @torch.inference_mode()
    def next_tokens(self, texts: Sequence[Sequence[int]], last: int) -> torch.Tensor:
        """Return the probabilities of the next token at the ``last`` positions, (texts, last, vocabulary)."""
        rests = [text[self._length :] for text in texts]
        longest = max(map(len, rests))
        ids = torch.zeros(len(texts), longest, dtype=torch.long)
        mask = torch.ones(len(texts), self._length + longest, dtype=torch.long)
        for row, rest in enumerate(rests):  # padded on the left: all end together
            ids[row, longest - len(rest) :] = torch.tensor(rest)
            mask[row, self._length : self._length + longest - len(rest)] = 0
        positions = (mask.cumsum(1) - 1).clamp(min=0)[:, self._length :]
        cache = deepcopy(self._cache)  # the model adds to it
        if cache is not None:
            cache.batch_repeat_interleave(len(texts))
        inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
        inputs = {name: value.to(self._model.device) for name, value in inputs.items()}
        logits = self._model(**inputs, past_key_values=cache, logits_to_keep=last, use_cache=cache is not None).logits
        return logits.float().softmax(-1).cpu()
