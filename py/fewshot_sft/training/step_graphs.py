"""Forward and backward of a training step as one CUDA graph, one for every shape of batch.

A LoRA step of GLM-4-9B launches some 5,300 kernels. With a batch of short texts the CPU takes longer to launch them
than the GPU to compute them, and how long is a matter of the host. A graph launches them all at once
(https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs).

The first batch of all is computed as ever, which loads what the kernels need; from then on every new shape is captured
when it comes. One that cannot be is computed as ever and tried once more: a kernel that is compiled for a shape cannot
always be loaded during a capture. All graphs share their memory, which works as long as the largest is captured first:
a batch that is larger than any before has all of them captured anew. Where that does not pay, as batches are large or
of too many shapes, or cannot be done, the graphs and their memory are given up, and the rest of the training is
computed as ever.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch

from .batches import FAST, MOST_WORK

MOST = 32  # graphs

Inputs = Mapping[str, torch.Tensor]
# Computes a loss from a batch and the number of its labels, and adds the gradients to the parameters'.
Step = Callable[[dict[str, torch.Tensor], torch.Tensor], torch.Tensor]
Shape = tuple[tuple[str, torch.Size, torch.dtype], ...]


class StepGraphs:
    """The graphs of one training."""

    def __init__(
        self,
        parameters: Iterable[torch.nn.Parameter],
        capture: Callable[[Step, Inputs, torch.Tensor, Any], CudaGraph] | None = None,
        new_pool: Callable[[], Any] | None = None,
    ) -> None:
        """Prepare.

        Args:
            parameters: the model's.
            capture: captures a step, given a batch, its number of labels and the memory pool; by default CUDA's.
            new_pool: returns a new memory pool for graphs; by default CUDA's.
        """
        every = list(parameters)
        self._parameters = [parameter for parameter in every if parameter.requires_grad]
        self._most_tokens = MOST_WORK // sum(parameter.numel() for parameter in every)
        self._capture = capture or CudaGraph
        self._new_pool = new_pool or torch.cuda.graph_pool_handle
        self._gradients: list[torch.Tensor] = []  # where the graphs add to
        self._graphs: dict[Shape, CudaGraph] = {}
        self._warm = False  # a batch was computed as ever
        self._pool: Any = None
        self._largest = 0
        self._refused: set[Shape] = set()  # could not be captured once
        self._given_up = False

    def step(self, run: Step, inputs: dict[str, torch.Tensor], items: torch.Tensor) -> torch.Tensor:
        """Do a step, by ``run`` or by a graph of it; returns its loss.

        Args:
            run: the step. What else than its two arguments it depends on is as in its first call for such a shape.
            inputs: the batch, on the GPU: ``input_ids`` and whatever else.
            items: number of labels, on the GPU, of shape ().
        """
        shape = shape_of(inputs)
        if shape in self._graphs or self._has_captured(shape, run, inputs, items):
            self._own_gradients()
            return self._graphs[shape].replay(inputs, items).clone()
        self._warm = True
        return run(inputs, items)

    def _has_captured(self, shape: Shape, run: Step, inputs: Inputs, items: torch.Tensor) -> bool:
        if self._given_up or not self._warm:
            return False
        tokens, failure = inputs["input_ids"].numel(), ""
        if tokens > self._most_tokens:
            failure = f"a batch has {tokens} tokens, for more than {self._most_tokens} they do not pay"
        elif len(self._graphs) == MOST:
            failure = f"the batches have more than {MOST} shapes"
        else:
            self._own_gradients()
            try:
                self._add(shape, run, inputs, items)
            except RuntimeError as error:  # of which running out of memory is one
                if shape not in self._refused:
                    self._refused.add(shape)
                    return False
                failure = str(error).partition("\n")[0]
        if failure:  # not in the handler above: its traceback would keep what was being captured
            self._give_up(failure)
        return not failure

    def _add(self, shape: Shape, run: Step, inputs: Inputs, items: torch.Tensor) -> None:
        size = inputs["input_ids"].numel()
        if size > self._largest:
            self._graphs.clear()
            self._pool = self._new_pool()
        self._graphs[shape] = self._capture(run, inputs, items, self._pool)
        self._largest = max(self._largest, size)

    def _own_gradients(self) -> None:
        """Have every parameter's gradient where the graphs add to it; one that has none begins with zeros."""
        if not self._gradients:
            self._gradients = [torch.zeros_like(parameter) for parameter in self._parameters]
        new = []
        for parameter, gradient in zip(self._parameters, self._gradients, strict=True):
            if parameter.grad is None:
                new.append(gradient)
            elif parameter.grad is not gradient:
                gradient.copy_(parameter.grad)
            parameter.grad = gradient
        if new:
            torch._foreach_zero_(new)

    def _give_up(self, reason: str) -> None:
        """Go on without graphs, and without the memory that they hold."""
        self._given_up = True
        self._graphs.clear()
        self._pool = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        warnings.warn(f"training without CUDA graphs from here on: {reason}", stacklevel=3)


def shape_of(inputs: Inputs) -> Shape:
    """Return what two batches have in common that one graph serves."""
    return tuple(sorted((name, tensor.shape, tensor.dtype) for name, tensor in inputs.items()))


class CudaGraph:
    """A step that was captured as a CUDA graph."""

    def __init__(self, run: Step, inputs: Inputs, items: torch.Tensor, pool: Any) -> None:
        """Capture; nothing is computed.

        Raises:
            RuntimeError: something in the step cannot be captured, or there is no memory for it.
        """
        self._inputs = {name: tensor.clone() for name, tensor in inputs.items()}
        self._items = items.clone()
        self._graph = torch.cuda.CUDAGraph()
        # What other threads do, those of a data loader for example, is none of its business.
        capture = torch.cuda.graph(self._graph, pool=pool, capture_error_mode="thread_local")
        # When it fails, it leaves its own stream as the current one.
        with torch.cuda.stream(torch.cuda.current_stream()), capture:
            self._loss = run(dict(self._inputs), self._items)

    def replay(self, inputs: Inputs, items: torch.Tensor) -> torch.Tensor:
        """Do the step with another batch of the same shape; returns its loss, which the next replay overwrites."""
        for name, tensor in inputs.items():
            self._inputs[name].copy_(tensor)
        self._items.copy_(items)
        self._graph.replay()
        return self._loss


def graph_steps() -> None:
    """Have LLaMA-Factory's trainer do its steps by graphs, where the model takes them."""
    from llamafactory.train.sft.trainer import CustomSeq2SeqTrainer

    plain = CustomSeq2SeqTrainer.training_step

    def training_step(self: Any, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        if not hasattr(self, "step_graphs"):
            self.step_graphs = StepGraphs(model.parameters()) if takes_graphs(model) else None
        inputs = self._prepare_inputs(inputs)
        if self.step_graphs is None or not all(map(is_on_gpu, [*inputs.values(), num_items_in_batch])):
            return plain(self, model, inputs, num_items_in_batch)
        return self.step_graphs.step(lambda batch, items: plain(self, model, batch, items), inputs, num_items_in_batch)

    CustomSeq2SeqTrainer.training_step = training_step


def is_on_gpu(value: Any) -> bool:
    """Return whether a value is a tensor on a GPU."""
    return isinstance(value, torch.Tensor) and value.is_cuda


def takes_graphs(model: Any) -> bool:
    """Return whether a model's steps can be captured: nothing in them may wait for the GPU.

    No gradient checkpointing, no quantized weights: their steps were not measured (docs/performance.md).
    """
    config = getattr(model, "config", None)
    return (
        getattr(config, "model_type", None) in FAST
        and not getattr(model, "is_gradient_checkpointing", False)
        and getattr(config, "quantization_config", None) is None
    )
