"""The generation check: the model that was trained answers the first items, while the trainer still has it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import GenerationConfig, TrainerCallback

from ..errors import describe
from ..evaluation import first_answers, questions
from ..evaluation.questions import Item
from ..jsonio import write_json
from ..log import say
from ..settings import Settings

MOST_TOKENS = 64  # of an answer: it is a look, not a measurement


class GenerationCheck(TrainerCallback):
    """Keeps the model when its training ends, and asks it once all of the training is saved."""

    def on_train_end(
        self, args: Any, state: Any, control: Any, model: Any = None, processing_class: Any = None, **_: Any
    ) -> None:
        """Keep the model."""
        self._folder, self._model, self._tokenizer = Path(args.output_dir), model, processing_class

    def ask(self) -> None:
        """Write the answers for py/train.py; whatever goes wrong is one line, and no failure of the training."""
        try:
            settings = Settings.read()
            items = questions.load(settings.data_dir, settings["SPLIT"], first_answers.COUNT).items
            most = min(settings.max_tokens, MOST_TOKENS)
            found = answers(self._model, self._tokenizer, settings["TEMPLATE"], items, most)
            write_json(self._folder / first_answers.FILE, {"check": first_answers.listed(items, found)})
        except Exception as error:
            say(f"no generation check: {describe(error)}")


def answers(model: Any, tokenizer: Any, template: str, items: Sequence[Item], most: int) -> list[str]:
    """Return a model's answers without sampling, in one batch.

    Args:
        model: of transformers or peft.
        tokenizer: the model's.
        template: its name in LLaMA-Factory.
        items: what is asked, as the server would be.
        most: tokens of an answer.
    """
    import torch
    from llamafactory.data.template import get_template_and_fix_tokenizer
    from llamafactory.hparams import DataArguments

    from ..evaluation.local_scores import prompt_of

    asked = get_template_and_fix_tokenizer(tokenizer, DataArguments(template=template))
    prompts = {"input_ids": [prompt_of(asked, tokenizer, item) for item in items]}
    batch = tokenizer.pad(prompts, padding_side="left", return_tensors="pt").to(model.device)
    how = GenerationConfig(
        do_sample=False,
        max_new_tokens=most,
        eos_token_id=sorted(asked.get_stop_token_ids(tokenizer)),
        pad_token_id=tokenizer.pad_token_id,
        use_cache=True,  # checkpointing of activations switches it off in the model's own configuration
    )
    model.eval()
    with torch.inference_mode():
        found = model.generate(**batch, generation_config=how)
    texts = tokenizer.batch_decode(found[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
    return [text.strip() for text in texts]
