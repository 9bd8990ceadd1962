"""Training steps by graphs: the same training as without; here with a capture that is none, on a GPU with CUDA's."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from fewshot_sft.training import step_graphs
from fewshot_sft.training.batches import FAST, few_lengths
from fewshot_sft.training.step_graphs import StepGraphs, graph_steps, takes_graphs

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU")


class Recorded:
    """A capture on the CPU: keeps the step and its inputs, as a graph does, and does it again when replayed."""

    captured: list[tuple[torch.Size, Any]]

    def __init__(self, run: Any, inputs: Any, items: torch.Tensor, pool: Any) -> None:
        Recorded.captured.append((inputs["input_ids"].shape, pool))
        self.run, self.inputs, self.items = run, {name: each.clone() for name, each in inputs.items()}, items.clone()

    def replay(self, inputs: Any, items: torch.Tensor) -> torch.Tensor:
        for name, tensor in inputs.items():
            self.inputs[name].copy_(tensor)
        self.items.copy_(items)
        return self.run(self.inputs, self.items)


@pytest.fixture(autouse=True)
def _nothing_captured() -> None:
    Recorded.captured = []


class Training:
    """A small regression, its optimizer, and how a trainer does its steps: each of one or more batches."""

    def __init__(self, device: str = "cpu") -> None:
        torch.manual_seed(3)
        self.model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)).to(device)
        self.model[0].bias.requires_grad_(False)
        self.optimizer = torch.optim.Adam([p for p in self.model.parameters() if p.requires_grad], lr=0.05)
        self.losses: list[float] = []
        self.runs = 0
        self.device = device

    def run(self, inputs: dict[str, torch.Tensor], items: torch.Tensor) -> torch.Tensor:
        self.runs += 1
        loss = (self.model(inputs["input_ids"]) - inputs["labels"]).square().sum() / items
        loss.backward()
        return loss.detach()

    def train(self, updates: list[list[int]], graphs: StepGraphs | None) -> list[torch.Tensor]:
        """Do the updates, each a list of the batches' lengths; return the weights."""
        generator = torch.Generator().manual_seed(5)
        for lengths in updates:
            for length in lengths:
                inputs = {"input_ids": torch.randn(length, 4, generator=generator).to(self.device)}
                inputs["labels"] = inputs["input_ids"].sum(1, keepdim=True)
                items = torch.tensor(float(sum(lengths)), device=self.device)
                step = self.run if graphs is None else lambda *batch: graphs.step(self.run, *batch)
                self.losses.append(step(inputs, items).item())
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
        return [parameter.detach().clone() for parameter in self.model.parameters()]


UPDATES = [[6], [3], [6], [6], [3, 6], [3], [6, 3, 3], [6], [9], [9, 6], [3], [6, 9]]


def graphs_of(training: Training) -> StepGraphs:
    pools = iter(range(100))
    return StepGraphs(training.model.parameters(), Recorded, lambda: next(pools))


def test_the_training_is_the_same_one_or_several_batches_an_update() -> None:
    plain, other = Training(), Training()
    weights, others = plain.train(UPDATES, None), other.train(UPDATES, graphs_of(other))
    assert other.losses == plain.losses
    for one, another in zip(weights, others, strict=True):
        torch.testing.assert_close(another, one, rtol=0, atol=0)


def test_a_shape_is_captured_when_it_comes_but_for_the_first_batch_of_all() -> None:
    training = Training()
    training.train([[6], [3], [6], [6], [3]], graphs_of(training))
    assert Recorded.captured == [((3, 4), 0), ((6, 4), 1), ((3, 4), 1)]  # 6 is larger than 3
    assert training.runs == 5


def test_a_larger_batch_has_all_captured_anew_the_largest_first() -> None:
    training = Training()
    training.train([[3], [3], [6], [3], [6], [3], [3]], graphs_of(training))
    assert Recorded.captured == [((3, 4), 0), ((6, 4), 1), ((3, 4), 1)]


@pytest.mark.parametrize(
    ("limit", "value", "reason"),
    [
        ("MOST", 1, "the batches have more than 1 shapes"),
        ("MOST_WORK", 27 * 49, "a batch has 28 tokens, for more than 27 they do not pay"),
    ],
)
def test_too_many_shapes_or_too_large_a_batch_ends_it(
    monkeypatch: pytest.MonkeyPatch, limit: str, value: int, reason: str
) -> None:
    monkeypatch.setattr(step_graphs, limit, value)
    updates = [[6], [6], [6], [7], [6], [7], [6]]
    plain, training = Training(), Training()
    with pytest.warns(UserWarning, match=f"^training without CUDA graphs from here on: {reason}$"):
        weights = training.train(updates, graphs_of(training))
    assert Recorded.captured == [((6, 4), 0)]
    assert training.runs == len(updates)
    torch.testing.assert_close(weights, plain.train(updates, None), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("tokens", "length"),
    [(1, 64), (64, 64), (65, 128), (984, 1024), (1024, 1024), (1025, 1152), (2049, 2304), (4000, 4096)],
)
def test_lengths_are_few_and_hardly_longer(tokens: int, length: int) -> None:
    assert few_lengths(tokens) == length


def test_there_are_no_more_lengths_than_graphs() -> None:
    lengths = {few_lengths(tokens) for tokens in range(1, 4097)}
    assert len(lengths) <= step_graphs.MOST
    assert all(few_lengths(tokens) - tokens < max(64, 0.13 * tokens) for tokens in range(1, 4097))


def test_what_cannot_be_captured_is_tried_once_more() -> None:
    """A kernel that is compiled for its shape is loaded by the batch that is computed as ever."""
    plain, training = Training(), Training()
    refused = set()

    def capture(run: Any, inputs: Any, items: torch.Tensor, pool: Any) -> Any:
        if (shape := inputs["input_ids"].shape) not in refused:
            refused.add(shape)
            raise RuntimeError("Triton Error [CUDA]: operation not permitted when stream is capturing")
        return Recorded(run, inputs, items, pool)

    graphs = StepGraphs(training.model.parameters(), capture, lambda: "a pool")
    weights = training.train(UPDATES, graphs)
    assert {shape for shape, _ in Recorded.captured} == refused == {(3, 4), (6, 4), (9, 4)}
    torch.testing.assert_close(weights, plain.train(UPDATES, None), rtol=0, atol=0)


def test_what_cannot_be_captured_is_done_as_ever() -> None:
    plain, training = Training(), Training()

    def refuse(*_: Any) -> Any:
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nCompile with ...")

    graphs = StepGraphs(training.model.parameters(), refuse)
    told = "from here on: CUDA error: operation not permitted when stream is capturing$"
    with pytest.warns(UserWarning, match=told) as found:
        weights = training.train(UPDATES, graphs)
    assert len(found) == 1
    torch.testing.assert_close(weights, plain.train(UPDATES, None), rtol=0, atol=0)
    assert training.losses == plain.losses


@pytest.mark.parametrize(
    ("kind", "changes", "taken"),
    [
        *((kind, {}, True) for kind in FAST),
        ("phi3", {}, False),
        ("glm", {"is_gradient_checkpointing": True}, False),
        ("glm", {"quantization_config": {"load_in_4bit": True}}, False),
    ],
)
def test_whose_steps_are_captured(kind: str, changes: dict[str, Any], taken: bool) -> None:
    config = SimpleNamespace(model_type=kind, quantization_config=changes.get("quantization_config"))
    model = SimpleNamespace(config=config, is_gradient_checkpointing=changes.get("is_gradient_checkpointing", False))
    assert takes_graphs(model) is taken


class Trainer:
    """What graph_steps needs of LLaMA-Factory's."""

    args = SimpleNamespace()
    plain_steps = 0

    def _prepare_inputs(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return inputs

    def training_step(self, model: Any, inputs: dict[str, torch.Tensor], num_items_in_batch: Any = None) -> Any:
        Trainer.plain_steps += 1
        loss = (model(inputs["input_ids"]) - inputs["labels"]).square().sum() / num_items_in_batch
        loss.backward()
        return loss.detach()


@pytest.mark.parametrize(("on_gpu", "kind", "captured"), [(True, "glm", 1), (False, "glm", 0), (True, "phi3", 0)])
def test_llamafactorys_trainer_does_its_steps_by_graphs(
    monkeypatch: pytest.MonkeyPatch, on_gpu: bool, kind: str, captured: int
) -> None:
    from llamafactory.train.sft import trainer

    monkeypatch.setattr(trainer, "CustomSeq2SeqTrainer", Trainer)
    monkeypatch.setattr(Trainer, "training_step", Trainer.training_step)
    monkeypatch.setattr(step_graphs, "CudaGraph", Recorded)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: "a pool")
    monkeypatch.setattr(step_graphs, "is_on_gpu", lambda value: on_gpu and isinstance(value, torch.Tensor))
    graph_steps()
    plain, other = Training(), Training()
    other.model.config = SimpleNamespace(model_type=kind)
    training = Trainer()
    other.run = lambda inputs, items: training.training_step(other.model, inputs, items)
    torch.testing.assert_close(other.train(UPDATES[:4], None), plain.train(UPDATES[:4], None), rtol=0, atol=0)
    assert other.losses == plain.losses
    assert [pool for _, pool in Recorded.captured] == ["a pool"] * (captured * 2)


@needs_gpu
def test_cuda_graphs_train_the_same() -> None:
    plain, other = Training("cuda"), Training("cuda")
    graphs = StepGraphs(other.model.parameters())
    weights, others = plain.train(UPDATES, None), other.train(UPDATES, graphs)
    assert other.runs < plain.runs
    assert other.losses == pytest.approx(plain.losses, rel=1e-5)
    torch.testing.assert_close(others, weights, rtol=1e-5, atol=1e-6)
