"""How much GPU memory a LoRA trainer and a vLLM server need, estimated from a model's shape.

All amounts are bytes, all functions pure. What a transformer layer keeps for the backward pass is counted as in
Korthikanti et al. 2022 (Reducing Activation Recomputation in Large Transformer Models, section 4), for RMSNorm in fp32,
grouped queries, SwiGLU, scaled-dot-product attention that keeps no matrix of scores, and LoRA under autocast. The input
of a frozen linear is not kept, as its weights need no gradient; each adapter keeps its own copy of it, because peft
casts it to fp32 and autocast casts it back. tests/test_planning_memory.py counts the same tensors in PyTorch's graph.

On an H200 with GLM-4-9B-Chat's shape the estimates were within 0.4 % of the measured peaks (docs/performance.md). The
coefficients below are from the same card; where nothing else is said, from nvidia-smi or vLLM's log.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import UserError
from ..training.batches import FAST, labelled_positions

GB = 10**9
CONTEXT = 850_000_000  # CUDA context and kernels of one process: nvidia-smi's number less what PyTorch has reserved
ADAPTER_PARAMETER = 16  # LLaMA-Factory trains LoRA in fp32: weight, gradient and Adam's two moments, 4 bytes each
# bytes for each of positions x vocabulary when the loss is differentiated: log-softmax, its gradient and that of the
# logits, all fp32 (transformers' ForCausalLMLoss)
LOGIT = 12
# bits a parameter; NF4 with double quantization is 4.127 (Dettmers et al. 2023, QLoRA, section 3)
BITS = {4: 4.127, 8: 8.05}
SERVED = {4: 4.5}  # vLLM's bitsandbytes loader undoes the double quantization: a scale in fp32 for 64 parameters
# What the allocator holds beyond the memory in use, blocks that no longer fit as the length of the batches varies: a
# share of what changes and one of the weights, a line through two measured settings; the fast trainer's is its own.
# Alone on a GPU, the allocator gives most of it back before it fails: SLACK is left.
HELD, HELD_OF_WEIGHTS, HELD_FAST = 0.323, 0.138, 0.15
SLACK = 0.1
# Models of these types have gate and up, or query, key and value, in one linear.
FUSED_GATE_UP = ("glm", "glm4", "phi3", "chatglm")
FUSED_QKV = ("phi3", "chatglm")
NORMED_HEADS = ("qwen3", "gemma3_text")  # an RMSNorm of every head's query and key
CHATGLM = ("query_key_value", "dense_h_to_4h", "dense", "dense_4h_to_h")  # its names of linears
# vLLM 0.26, EngineArgs: what `vllm serve` computes at once, by the size of the card.
LARGE_CARD = 70 * 2**30
BATCHED_TOKENS, SEQUENCES = {True: 8192, False: 2048}, {True: 1024, False: 256}
# Bytes for each of sequences x vocabulary in its profiling run: on the H200 it told 1.29 GiB for the peak of 1024
# sequences, 0.24 GiB for that of 256.
SAMPLED_LOGIT = 9
GRAPHS = 1_660_000_000  # nvidia-smi with graphs less nvidia-smi without
OUTSIDE_TORCH = 240_000_000  # "non-torch memory" in its log
BESIDE_ITS_SHARE = 1_350_000_000  # nvidia-smi less what --gpu-memory-utilization allowed it, without graphs


@dataclass(frozen=True)
class Linear:
    """A linear of a layer: its name as LORA_TARGET has it, and its inputs and outputs."""

    name: str
    inputs: int
    outputs: int
    role: str  # linears of the same role have the same input


@dataclass(frozen=True)
class ModelShape:
    """A decoder's shape."""

    hidden: int
    layers: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    linears: tuple[Linear, ...]  # of one layer
    embeddings: int  # parameters that no quantization touches: embedding and output layer
    parameters: int  # all of them
    norms: int = 2  # RMSNorms of the width ``hidden`` in a layer
    quantized: int | None = None  # bytes of the weights where they are quantized on the disk already
    kind: str = ""  # config.json's model_type
    window: int | None = None  # tokens that its attention looks back, where it is limited

    @property
    def query(self) -> int:
        """Width of the queries of all heads."""
        return self.heads * self.head_dim

    @property
    def key(self) -> int:
        """Width of the keys of all heads; that of the values is the same."""
        return self.kv_heads * self.head_dim

    def adapted(self, target: str) -> list[Linear]:
        """Return the linears of a layer that LORA_TARGET (``all``, or names) gives an adapter."""
        return [each for each in self.linears if target == "all" or each.name in target.split(",")]

    def adapter(self, target: str, rank: int) -> int:
        """Return the parameters of an adapter."""
        return self.layers * rank * sum(each.inputs + each.outputs for each in self.adapted(target))


def shape_of(config: Mapping[str, Any], parameters: int | None = None, stored: int | None = None) -> ModelShape:
    """Return the shape that a model's config.json describes.

    Args:
        config: its content; for a model of text and images the part ``text_config`` is taken.
        parameters: counted in its weights; None computes them from the shape.
        stored: bytes of its weights, which count where they are quantized on the disk.

    Raises:
        UserError: it is not a dense decoder whose memory this module knows; the message says what is missing.
    """
    config = {**config, **(config.get("text_config") or {})}
    kind = str(config.get("model_type") or "unknown")
    for experts in ("num_experts", "num_local_experts", "n_routed_experts"):
        if config.get(experts):
            raise UserError(f"model type {kind} is a mixture of experts, whose memory is not estimated")

    def number(*names: str, default: int | None = None) -> int:
        for name in names:
            value = config.get(name)
            if isinstance(value, int) and value > 0:
                return value
        if default is None:
            raise UserError(f"config.json of model type {kind} has no {names[0]}")
        return default

    hidden, heads = number("hidden_size"), number("num_attention_heads")
    layers = number("num_hidden_layers", "num_layers")
    intermediate = number("intermediate_size", "ffn_hidden_size")
    vocabulary = number("vocab_size", "padded_vocab_size")
    kv_heads = number("num_key_value_heads", "multi_query_group_num", default=heads)
    head_dim = number("head_dim", "kv_channels", default=hidden // heads)
    query, key = heads * head_dim, kv_heads * head_dim
    qkv, gate_up, dense, down = CHATGLM if kind == "chatglm" else ("qkv_proj", "gate_up_proj", "o_proj", "down_proj")
    attention = {"q_proj": query, "k_proj": key, "v_proj": key}
    if kind in FUSED_QKV:
        attention = {qkv: query + 2 * key}
    mlp = (
        {gate_up: 2 * intermediate} if kind in FUSED_GATE_UP else dict.fromkeys(("gate_proj", "up_proj"), intermediate)
    )
    linears = [Linear(name, hidden, outputs, "attention") for name, outputs in attention.items()]
    linears += [Linear(dense, query, hidden, "output")]
    linears += [Linear(name, hidden, outputs, "mlp") for name, outputs in mlp.items()]
    linears += [Linear(down, intermediate, hidden, "down")]
    tied = config.get("tie_word_embeddings", kind in ("gemma", "gemma2", "gemma3_text"))
    embeddings = vocabulary * hidden * (1 if tied else 2)
    counted = layers * sum(each.inputs * each.outputs for each in linears) + embeddings
    return ModelShape(
        hidden=hidden,
        layers=layers,
        intermediate=intermediate,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        vocabulary=vocabulary,
        linears=tuple(linears),
        embeddings=embeddings,
        parameters=parameters or counted,
        norms=4 if kind in ("glm4", "gemma2", "gemma3_text") else 2,
        quantized=stored if config.get("quantization_config") else None,
        kind=kind,
        window=config.get("sliding_window") if config.get("use_sliding_window", True) else None,
    )


def weights(shape: ModelShape, bits: int, width: int = 2, served: bool = False) -> int:
    """Return the bytes of the base model's weights.

    Args:
        shape: the model's.
        bits: 4 or 8 quantizes the linears of the layers; embedding and output layer stay ``width`` bytes a parameter.
        width: bytes a parameter of the precision, 2 or 4.
        served: by vLLM.
    """
    if shape.quantized is not None:
        return shape.quantized
    if bits >= 16:
        return shape.parameters * width
    each = SERVED.get(bits, BITS.get(bits, bits)) if served else BITS.get(bits, bits)
    return round((shape.parameters - shape.embeddings) * each / 8) + shape.embeddings * width


def unpacked(shape: ModelShape, bits: int, width: int = 2) -> int:
    """Return the bytes of the largest weight as it is used: a quantized one is unpacked for that."""
    return width * max(each.inputs * each.outputs for each in shape.linears) if bits < 16 else 0


def layer(shape: ModelShape, target: str, rank: int, length: int, width: int = 2, fast: bool = False) -> int:
    """Return the bytes that one layer keeps for each position until its backward pass.

    Args:
        shape: the model's.
        target, rank: LORA_TARGET and LORA_RANK.
        length: positions of an example: the mask of a padded batch is one row of so many numbers for each position.
        width: bytes a number of the precision, 2 or 4.
        fast: by py/fast_trainer.py: adapters of the same input share it, and liger-kernel's RMSNorm and SwiGLU keep
            their inputs as they are and nothing between. (What liger saves for other types than those in ``FAST`` is
            not measured: not counted.)
    """
    adapted = shape.adapted(target)
    liger = fast and shape.kind in FAST
    kept = width if liger else 4
    norms = shape.norms * (kept * shape.hidden + 4)
    if shape.kind in NORMED_HEADS:
        norms += kept * (shape.query + shape.key) + 4 * (shape.heads + shape.kv_heads)
    # Queries and what attention returns; keys and values repeated for all heads, as the kernel with a mask wants them.
    attention = width * (4 * shape.query + length) + 4 * shape.heads
    # Gate and up, SiLU of the gate.
    mlp = width * (2 if liger else 3) * shape.intermediate
    # The inputs of the adapters and what their first halves return.
    if fast:  # query, key and value have one input, gate and up another
        inputs = sum({each.role: each.inputs for each in adapted}.values())
    else:
        inputs = sum(each.inputs for each in adapted)
    return norms + attention + mlp + width * (inputs + rank * len(adapted))


def trainer(
    shape: ModelShape,
    *,
    micro_batch: int,
    length: int,
    checkpointing: bool,
    bits: int = 16,
    rank: int = 8,
    target: str = "all",
    width: int = 2,
    alone: bool = True,
    fast: bool = False,
    merged: int = 0,
) -> dict[str, int]:
    """Return the most bytes that one trainer holds, by what for; the sum is what it needs.

    Args:
        shape: the model's.
        micro_batch: examples a step.
        length: tokens of the longest example; the others of its batch are padded to it.
        checkpointing: gradient checkpointing: a layer keeps its input only and is computed again.
        bits: of the base model's weights: 16 (32 follows from ``width``), 8 or 4.
        rank, target: LORA_RANK and LORA_TARGET.
        width: bytes a number of the precision: 2 for bf16 and fp16, 4 for fp32.
        alone: no other process is on the GPU that would need what the allocator holds without use.
        fast: by py/fast_trainer.py with liger-kernel.
        merged: tokens of the one sequence that a batch becomes (shared_prefix.py); 0 where it does not.
    """
    positions, row = micro_batch * length, length
    if merged:
        positions = row = merged
    kept = layer(shape, target, rank, row, width, fast) * positions
    few = fast and shape.kind in FAST
    rows = 1 if merged else micro_batch
    logits = LOGIT * shape.vocabulary * (rows * labelled_positions(rows, row) if few else positions)
    if checkpointing:
        # At the loss there are the layers' inputs and the logits, later one layer's tensors and as much again in work.
        activations, top = shape.layers * width * shape.hidden * positions, max(logits, 2 * kept)
    else:
        activations, top = shape.layers * kept, logits
    base, adapter = weights(shape, bits, width), shape.adapter(target, rank) * ADAPTER_PARAMETER
    activations += unpacked(shape, bits, width)
    changing = activations + top
    beside_others = HELD_FAST * changing if few else HELD * changing + HELD_OF_WEIGHTS * base
    return {
        "weights": base,
        "adapter_and_optimizer": adapter,
        "activations": activations,
        "loss": top,
        "context": CONTEXT,
        "held": round(SLACK * changing if alone else beside_others),
    }


def kv_cache(shape: ModelShape, tokens: int, width: int = 2) -> int:
    """Return the bytes of keys and values of so many tokens."""
    return tokens * shape.layers * 2 * shape.key * width


def server(
    shape: ModelShape,
    *,
    card: int,
    tokens: int,
    graphs: bool = False,
    rank: int = 8,
    adapters: int = 1,
    bits: int = 16,
    width: int = 2,
) -> dict[str, int]:
    """Return the bytes that a ``vllm serve`` needs, by what for.

    Args:
        shape: the model's.
        card: bytes of the whole GPU: vLLM computes more at once on a large one.
        tokens: that the KV cache has to hold.
        graphs: with CUDA graphs.
        rank, adapters: that it has room for: so many of that rank, in every linear, whatever an adapter has.
        bits, width: as for :func:`trainer`.
    """
    large = card >= LARGE_CARD
    computed = BATCHED_TOKENS[large] * width * (3 * shape.intermediate + 4 * shape.hidden)
    sampled = SEQUENCES[large] * shape.vocabulary * SAMPLED_LOGIT
    return {
        "weights": weights(shape, bits, width, served=True),
        "adapters": adapters * shape.adapter("all", rank) * width,
        "activations": max(computed, sampled) + unpacked(shape, bits, width),
        "kv_cache": kv_cache(shape, tokens, width),
        "graphs": GRAPHS if graphs else 0,
        "outside_torch": OUTSIDE_TORCH,
        "beside_its_share": BESIDE_ITS_SHARE,
    }
