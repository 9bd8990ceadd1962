"""A batch as one sequence: the same loss and gradients as example by example, for each architecture that gets it."""

from __future__ import annotations

import math
import warnings
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

import fast_trainer
from fewshot_sft.errors import UserError
from fewshot_sft.training.batches import FAST, IGNORED, NOT_WITH, Cost
from fewshot_sft.training.shared_prefix import (
    common_beginning,
    cost_of,
    merged,
    of_few_shapes,
    share_prefixes,
    takes_any_mask,
)
from fewshot_sft.training.step_graphs import StepGraphs

CHEAP = Cost(1.0, 0.0)  # attention costs nothing: fewer tokens are always better
SMALL: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "head_dim": 16,
    "tie_word_embeddings": False,
}
# What types have of their own: attention that looks back 48 tokens, in all layers or some; Llama 3's frequencies.
WINDOW = 48
LLAMA3 = {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
OWN: dict[str, dict[str, Any]] = {
    "gemma3_text": {
        "sliding_window": WINDOW,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        "tie_word_embeddings": True,
    },
    "glm": {"attention_bias": True},
    "llama": {"rope_parameters": LLAMA3 | {"original_max_position_embeddings": 32}},
    "mistral": {"sliding_window": WINDOW},
    "qwen2": {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1},
}


def small(kind: str) -> Any:
    """A small model of a type, with weights drawn by lot."""
    torch.manual_seed(1)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **SMALL | OWN.get(kind, {})))


def a_batch(
    common: int = 20, lengths: tuple[int, ...] = (11, 17, 9, 14, 23), answer: int = 3
) -> dict[str, torch.Tensor]:
    """Examples with a common beginning and ``lengths`` tokens of their own, the last ``answer`` of them labelled."""
    generator = torch.Generator().manual_seed(7)
    width = -(-(common + max(lengths)) // 8) * 8
    ids = torch.zeros(len(lengths), width, dtype=torch.long)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, IGNORED)
    ids[:, :common] = torch.randint(1, 300, (common,), generator=generator)
    for row, length in enumerate(lengths):
        end = common + length
        ids[row, common:end] = torch.randint(1, 300, (length,), generator=generator)
        ids[row, common] = row + 1  # no two go on alike
        mask[row, :end] = 1
        labels[row, end - answer : end] = ids[row, end - answer : end]
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def loss_and_gradient(model: Any, batch: dict[str, Any]) -> tuple[float, torch.Tensor]:
    model.zero_grad()
    loss = model(**batch, use_cache=False).loss
    loss.backward()
    return loss.item(), torch.cat([each.grad.flatten() for each in model.parameters() if each.requires_grad])


@pytest.mark.parametrize("kind", FAST)
def test_the_loss_and_the_gradients_are_those_of_the_examples(kind: str) -> None:
    """LoRA on all linears, and an output layer of its own; then also with logits where labels are only."""
    from peft import LoraConfig, get_peft_model

    own = small(kind)
    output = None if own.config.tie_word_embeddings else ["lm_head"]
    lora = LoraConfig(target_modules="all-linear", modules_to_save=output, init_lora_weights=False)
    model = get_peft_model(own, lora).double().train()
    assert takes_any_mask(own)
    batch = a_batch(lengths=(11, 17, 9, 14, 23, 16, 12, 13, 20))
    one = merged(batch, cost_of(own), 512, window=WINDOW)
    assert one["input_ids"].shape == (1, 160)  # 20 + 135, in eights, of 9 x 48
    loss, gradient = loss_and_gradient(model, batch)
    with_tokens = {"one sequence": one, "few shapes": of_few_shapes(batch)}
    found = {name: loss_and_gradient(model, each) for name, each in with_tokens.items()}
    fast_trainer.logits_where_labels_are(own)
    assert model(**batch).logits is None
    found |= {f"{name}, labels": loss_and_gradient(model, each) for name, each in with_tokens.items()}
    found["labels"] = loss_and_gradient(model, batch)
    for other, another in found.values():  # transformers computes the loss itself in single precision
        assert other == pytest.approx(loss, rel=1e-6)
        torch.testing.assert_close(another, gradient, rtol=0, atol=1e-6 * gradient.abs().max().item())


@pytest.mark.parametrize("kind", sorted(OWN.keys() - {"glm", "llama"}))
def test_attention_that_looks_back_less_far_than_an_example_is_long_stays_as_it_is(kind: str) -> None:
    batch = a_batch(lengths=(11, WINDOW - 19))
    assert merged(batch, CHEAP, 512, window=WINDOW)["labels"] is batch["labels"]
    # As one sequence it would be another computation.
    model, batch = small(kind).double().train(), a_batch(lengths=(11, WINDOW))
    losses = [model(**each, use_cache=False).loss.item() for each in (batch, merged(batch, CHEAP, 512))]
    assert losses[0] != pytest.approx(losses[1], rel=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU")
@pytest.mark.parametrize("kind", FAST)
def test_steps_of_each_type_are_cuda_graphs(kind: str) -> None:
    """Batches as one sequence, and others with the mask that transformers makes of theirs."""
    model = small(kind).cuda().train()
    fast_trainer.logits_where_labels_are(model)
    batch = a_batch()
    batches = [{name: part.cuda() for name, part in each.items()} for each in (merged(batch, CHEAP, 512), batch)]
    runs = 0

    def run(inputs: dict[str, torch.Tensor], items: torch.Tensor) -> torch.Tensor:
        nonlocal runs
        runs += 1
        loss: torch.Tensor = model(**inputs, num_items_in_batch=items, use_cache=False).loss
        loss.backward()
        return loss.detach()

    items = torch.tensor(15, device="cuda")
    losses = [run(each, items).item() for each in batches]
    gradient = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    model.zero_grad()
    graphs, runs = StepGraphs(model.parameters()), 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(4):
            found = [graphs.step(run, each, items).item() for each in batches]
            assert found == pytest.approx(losses, rel=1e-4)
    assert runs == 3  # one batch as ever, and two captures
    another = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    torch.testing.assert_close(another, 4 * gradient, rtol=0, atol=1e-3 * gradient.abs().max().item())


def test_liger_kernels_forward_of_the_class_is_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small("llama")

    def fused(self: Any, **_: Any) -> Any:
        raise AssertionError("liger-kernel's")

    monkeypatch.setattr(type(model), "forward", fused)
    loader = SimpleNamespace(dataset={"labels": [[IGNORED, 1]]})
    fast_trainer.LogitsWhereLabelsAre().on_train_begin(None, None, None, model=model, train_dataloader=loader)
    assert math.isfinite(loss_and_gradient(model.train(), a_batch())[0])
    with pytest.raises(AssertionError, match="liger-kernel's"):  # where it measures, logits are wanted everywhere
        model.eval()(**a_batch())


def test_with_many_labels_in_an_example() -> None:
    """There are as many positions as the example with the most labels has; with fewer, the loss is not a number."""
    batch = a_batch(20, (110,) * 8, 100)
    model = small("llama").double().train()
    loss, gradient = loss_and_gradient(model, batch)
    plain = model.forward
    fast_trainer.logits_where_labels_are(model)
    assert math.isnan(loss_and_gradient(model, batch)[0])
    model.forward = plain
    loader = SimpleNamespace(dataset={"labels": [row.tolist() for row in batch["labels"]]})
    fast_trainer.LogitsWhereLabelsAre().on_train_begin(None, None, None, model=model, train_dataloader=loader)
    other, another = loss_and_gradient(model, batch)
    assert other == pytest.approx(loss, rel=1e-6)
    torch.testing.assert_close(another, gradient, rtol=0, atol=1e-6 * gradient.abs().max().item())


@pytest.mark.parametrize(("examples", "length", "padded"), [(8, 136, 144), (8, 144, 144), (5, 296, 312), (1, 130, 192)])
def test_batches_are_padded_to_few_shapes(examples: int, length: int, padded: int) -> None:
    ones = torch.ones(examples, length, dtype=torch.long)
    batch = {"input_ids": ones, "attention_mask": ones, "labels": ones}
    after = of_few_shapes(batch)
    for name, fill in (("input_ids", 0), ("attention_mask", 0), ("labels", IGNORED)):
        assert after[name].shape == (examples, padded)
        assert torch.equal(after[name][:, :length], ones)
        assert (after[name][:, length:] == fill).all()
    one = merged(a_batch(), CHEAP, 512)
    assert of_few_shapes(one).keys() == one.keys()


def test_what_the_sequence_is_made_of() -> None:
    one = merged(a_batch(3, (2, 3), 1), CHEAP, 512)
    assert one["position_ids"].tolist() == [[0, 1, 2, 3, 4, 3, 4, 5]]
    assert (one["labels"] != IGNORED).tolist() == [[False] * 4 + [True] + [False] * 2 + [True]]
    sees = one["attention_mask"][0, 0]
    assert sees.int().tolist() == [
        [1, 0, 0, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0, 0, 0],
        [1, 1, 1, 1, 0, 0, 0, 0],
        [1, 1, 1, 1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0, 1, 0, 0],
        [1, 1, 1, 0, 0, 1, 1, 0],
        [1, 1, 1, 0, 0, 1, 1, 1],
    ]


def test_no_row_of_the_mask_is_empty() -> None:
    one = merged(a_batch(3, (2, 4, 3), 1), CHEAP, 512)  # 12 tokens, and 4 of padding
    sees = one["attention_mask"][0, 0]
    assert sees.shape == (16, 16)
    assert sees.diagonal().all()
    assert not sees[12:, :12].any()
    assert (one["labels"][0, 12:] == IGNORED).all()


def test_the_common_beginning_ends_before_what_is_labelled_or_would_predict_anothers_token() -> None:
    batch = a_batch(10, (6, 6), 3)
    lengths = batch["attention_mask"].sum(1)
    assert common_beginning(batch["input_ids"], lengths, batch["labels"]) == 10
    # The whole prompt is the same: its last token, which predicts the answers, is each example's own.
    batch["input_ids"][1, :13] = batch["input_ids"][0, :13]
    assert common_beginning(batch["input_ids"], lengths, batch["labels"]) == 12
    # Twice the same example.
    batch["input_ids"][1] = batch["input_ids"][0]
    assert common_beginning(batch["input_ids"], lengths, batch["labels"]) == 12


def left_padded(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {key: value.flip(1) for key, value in batch.items()}


def of_one(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {key: value[:1] for key, value in batch.items()}


def begun_unlike(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    ids = batch["input_ids"].clone()
    ids[:, 0] = torch.arange(1, len(ids) + 1)
    return batch | {"input_ids": ids}


def labelled_padding(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    labels = batch["labels"].clone()
    labels[0, -1] = 0
    return batch | {"labels": labels}


def with_pictures(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return batch | {"pixel_values": torch.zeros(1)}


@pytest.mark.parametrize("change", [left_padded, of_one, begun_unlike, labelled_padding, with_pictures])
def test_what_cannot_be_one_sequence_is_left_as_it_is(change: Any) -> None:
    batch = change(a_batch())
    after = merged(batch, CHEAP, 512)
    assert after.keys() == batch.keys()
    assert all(after[key] is batch[key] for key in batch)


def test_too_many_labels_and_texts_too_long_are_left_as_they_are() -> None:
    batch = a_batch()
    assert merged(batch, CHEAP, 14)["labels"] is batch["labels"]
    assert merged(batch, CHEAP, 15)["labels"].shape[0] == 1
    # 96 tokens instead of 5 x 48, 96 x 96 pairs of them instead of 5 x 48 x 48.
    assert merged(batch, Cost(1.0, 0.5), 512)["labels"].shape[0] == 1
    long = a_batch(100, (900,) * 8)
    assert merged(long, Cost(2 * 9.4e9, 4.0 * 40 * 4096), 512)["labels"] is long["labels"]
    short = a_batch(108, (109,) * 8)
    assert merged(short, Cost(2 * 9.4e9, 4.0 * 40 * 4096), 512)["labels"].shape == (1, 984)


def test_the_cost_is_that_of_the_weights_and_the_attention() -> None:
    model = small("llama")
    assert cost_of(model) == Cost(2.0 * model.num_parameters(), 4.0 * 3 * 4 * 16)
    weight = model.lm_head.weight
    weight.quant_state = SimpleNamespace(shape=(1000, 64))  # as bitsandbytes has it
    assert cost_of(model).linear == 2.0 * (model.num_parameters() - weight.numel() + 64_000)
    assert math.isclose(Cost(2.0, 3.0).of(5, 7), 5 * 7 * 2 + 5 * 7 * 7 * 3)


@pytest.mark.parametrize(
    ("change", "takes"),
    [
        ({}, True),
        ({"_attn_implementation": "eager"}, False),
        ({"_attn_implementation": "flash_attention_2"}, False),
        ({"model_type": "gemma3"}, False),
        ({"use_bidirectional_attention": True}, False),
        ({"attention_dropout": 0.1}, False),
    ],
)
def test_models_that_may_not_take_it_do_not_get_it(change: dict[str, Any], takes: bool) -> None:
    config = {"model_type": "qwen2", "_attn_implementation": "sdpa"} | change
    assert takes_any_mask(SimpleNamespace(config=SimpleNamespace(**config), modules=list)) is takes
    assert takes_any_mask(None) is False


@pytest.mark.parametrize(("dropout", "takes"), [(0.0, True), (0.1, False)])
def test_dropout_in_the_adapter_is_drawn_for_every_example(dropout: float, takes: bool) -> None:
    from peft import LoraConfig, get_peft_model

    lora = LoraConfig(lora_dropout=dropout, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(small("qwen2"), lora)
    assert takes_any_mask(model.base_model.model) is takes


@pytest.mark.parametrize("flag", NOT_WITH)
def test_what_the_number_or_the_length_of_the_sequences_would_change_is_refused(flag: str) -> None:
    with pytest.raises(UserError, match=rf"^{flag} cannot be with a shared prefix; set SHARED_PREFIX=0$"):
        share_prefixes(["--stage", "sft", flag, "5"], 512, lambda model: False)


@pytest.mark.parametrize("graphs", [True, False])
def test_llamafactorys_collator_merges_what_it_may_and_pads_what_is_a_graph(
    monkeypatch: pytest.MonkeyPatch, graphs: bool
) -> None:
    from llamafactory.data.collator import SFTDataCollatorWith4DAttentionMask as Collator

    monkeypatch.setattr(Collator, "__call__", lambda self, batch: batch)
    share_prefixes([], 512, lambda model: graphs, only_graphed=True)
    collator = SimpleNamespace(model=small("mistral"))
    short, long = a_batch(), a_batch(lengths=(11, WINDOW, WINDOW, WINDOW, WINDOW))
    made = [tuple(Collator.__call__(collator, batch)["input_ids"].shape) for batch in (short, long)]
    assert made == ([(1, 128), (5, 80)] if graphs else [(5, 48), (5, 72)])


@pytest.mark.parametrize(
    ("weights", "autocast"), [(torch.float32, None), (torch.float32, torch.bfloat16), (torch.bfloat16, None)]
)
def test_the_mask_is_one_for_every_precision(weights: torch.dtype, autocast: torch.dtype | None) -> None:
    model = small("glm").to(weights).train()
    batch = a_batch()
    with torch.autocast("cpu", dtype=autocast or torch.bfloat16, enabled=autocast is not None):
        losses = [model(**each, use_cache=False).loss.item() for each in (batch, merged(batch, CHEAP, 512))]
    assert losses[1] == pytest.approx(losses[0], rel=1e-2 if torch.bfloat16 in (weights, autocast) else 1e-5)
