"""The memory model: against what was measured on a GPU, and against the tensors that PyTorch keeps."""

from __future__ import annotations

import pytest

from fewshot_sft.errors import UserError
from fewshot_sft.planning import memory
from fewshot_sft.training.batches import FAST

GLM = {
    "model_type": "glm",
    "hidden_size": 4096,
    "num_hidden_layers": 40,
    "intermediate_size": 13696,
    "num_attention_heads": 32,
    "num_key_value_heads": 2,
    "head_dim": 128,
    "vocab_size": 151552,
    "tie_word_embeddings": False,
}
QWEN = {
    "model_type": "qwen2",
    "hidden_size": 896,
    "num_hidden_layers": 24,
    "intermediate_size": 4864,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "vocab_size": 151936,
    "tie_word_embeddings": True,
}


@pytest.mark.parametrize(
    ("micro", "checkpointing", "fast", "peak", "held"),
    [(8, False, False, 44.12, 54.87), (2, True, False, 20.53, 23.66), (8, False, True, 34.60, 36.7)],
)
def test_within_a_hundredth_of_what_was_measured(monkeypatch, micro, checkpointing, fast, peak, held):
    """H200, GLM-4-9B's shape, rank 8, up to 296 tokens: torch.cuda.max_memory_allocated and max_memory_reserved."""
    monkeypatch.setattr(memory, "labelled_positions", lambda examples, length: 32)  # in the measured run
    shape = memory.shape_of(GLM)
    found = memory.trainer(shape, micro_batch=micro, length=296, checkpointing=checkpointing, alone=False, fast=fast)
    assert sum(found.values()) - found["held"] - found["context"] == pytest.approx(peak * 1e9, rel=0.01)
    assert sum(found.values()) - found["context"] == pytest.approx(held * 1e9, rel=0.01)
    assert shape.parameters == pytest.approx(9_399_951_360, rel=1e-3)
    assert shape.adapter("all", 8) == 23_797_760  # LLaMA-Factory's "trainable params"


def test_the_server_against_what_was_measured():
    """H200, `vllm serve` with a share of 0.92: nvidia-smi, 132,985 MiB eager and 134,565 MiB with graphs."""
    shape, card = memory.shape_of(GLM), 150_121_545_728
    tokens = 109.34 * 2**30 / memory.kv_cache(shape, 1)
    assert tokens == pytest.approx(2_866_160, rel=1e-4)  # "GPU KV cache size" in its log
    for graphs, mebibytes in ((False, 132_985), (True, 134_565)):
        found = memory.server(shape, card=card, tokens=2_866_160, graphs=graphs, adapters=4)
        assert sum(found.values()) == pytest.approx(mebibytes * 2**20, rel=0.01)
    small = memory.server(shape, card=24 * 2**30, tokens=4096)
    assert small["activations"] < found["activations"] == pytest.approx(1.29 * 2**30, rel=0.05)


def test_4_bit_weights():
    """Embedding and output layer stay as they are; NF4 of the rest is 4.127 bits a parameter."""
    shape = memory.shape_of(GLM)
    assert shape.embeddings == 2 * 151552 * 4096
    linears = shape.parameters - shape.embeddings
    assert memory.weights(shape, 4) == round(linears * 4.127 / 8) + 2 * shape.embeddings
    assert memory.weights(shape, 4) < memory.weights(shape, 8) < memory.weights(shape, 16) == 2 * shape.parameters
    assert memory.weights(shape, 16, width=4) == 4 * shape.parameters
    served = memory.server(shape, card=16 * 2**30, tokens=4096, bits=4)
    assert served["weights"] == round(linears * 4.5 / 8) + 2 * shape.embeddings
    plain = memory.server(shape, card=16 * 2**30, tokens=4096)
    assert served["activations"] == plain["activations"] + 2 * 4096 * 2 * 13696


def test_shapes():
    small = memory.shape_of(QWEN)
    assert small.parameters == pytest.approx(494e6, rel=0.01)
    assert (small.query, small.key, small.embeddings) == (896, 128, 151936 * 896)
    assert small.adapter("q_proj,v_proj", 8) == 24 * 8 * (896 + 896 + 896 + 128)
    # GLM-4 as its first weights have it, with other names for the same shape.
    chatglm = {"model_type": "chatglm", "hidden_size": 4096, "num_layers": 40, "ffn_hidden_size": 13696}
    chatglm |= {"num_attention_heads": 32, "multi_query_group_num": 2, "kv_channels": 128, "padded_vocab_size": 151552}
    assert memory.shape_of(chatglm).parameters == memory.shape_of(GLM).parameters
    assert memory.shape_of({"model_type": "x", "text_config": GLM}).layers == 40
    quantized = memory.shape_of(
        GLM | {"quantization_config": {}} | {"quantization_config": {"bits": 4}}, None, 7 * 10**9
    )
    assert memory.weights(quantized, 16) == 7 * 10**9


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "mixtral", "num_local_experts": 8}, "model type mixtral is a mixture of experts"),
        ({"model_type": "gpt2", "n_embd": 768}, "config.json of model type gpt2 has no hidden_size"),
        ({}, "config.json of model type unknown has no hidden_size"),
    ],
)
def test_what_is_not_known_is_said(config, message):
    with pytest.raises(UserError, match=message):
        memory.shape_of(config)


@pytest.mark.parametrize("kind", FAST)
def test_a_layer_keeps_what_pytorch_keeps(kind):
    """Bytes that PyTorch saves for the backward pass of one layer more, LoRA on all linears, autocast."""
    torch = pytest.importorskip("torch")
    from peft import LoraConfig, get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    config = GLM | {
        "model_type": kind,
        "hidden_size": 64,
        "intermediate_size": 208,
        "num_attention_heads": 4,
        "head_dim": 16,
        "vocab_size": 500,
        "pad_token_id": 0,
    }
    length = 96
    saved = {}
    for layers in (1, 2):
        made = AutoConfig.for_model(**config | {"num_hidden_layers": layers})
        model = AutoModelForCausalLM.from_config(made, dtype=torch.bfloat16)
        model = get_peft_model(model, LoraConfig(r=8, target_modules="all-linear", task_type="CAUSAL_LM"))
        for parameter in model.parameters():
            parameter.data = parameter.data.float() if parameter.requires_grad else parameter.data
        own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
        kept = {}

        def keep(tensor, kept=kept, own=own):
            if tensor.dim() > 2 or tensor.shape[:1] == (2 * length,):  # not the bf16 copies of LoRA's weights
                storage = tensor.untyped_storage()
                if storage.data_ptr() not in own:
                    kept[storage.data_ptr()] = tensor, storage.nbytes()  # held, so that no other takes its address
            return tensor

        ids = torch.randint(1, 400, (2, length))
        mask = torch.ones_like(ids)
        mask[0, :5] = 0
        with (
            torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
            torch.autocast("cpu", torch.bfloat16),
        ):
            model(input_ids=ids, attention_mask=mask, labels=ids)
        saved[layers] = sum(size for _, size in kept.values())
    estimate = memory.layer(memory.shape_of(config), "all", 8, length) * 2 * length
    assert saved[2] - saved[1] == pytest.approx(estimate, rel=0.02)
