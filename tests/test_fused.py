"""The split of GLM-4's fused gate_up_proj for vLLM is exact."""

from __future__ import annotations

import json

import pytest

torch = pytest.importorskip("torch")


from fewshot_sft.errors import UserError  # noqa: E402 - after the skip
from fewshot_sft.serving import fused  # noqa: E402 - after the skip


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    """A small GLM and a saved LoRA adapter on all of its linear modules, with random weights."""
    from peft import LoraConfig, get_peft_model
    from transformers import GlmConfig, GlmForCausalLM

    torch.manual_seed(0)
    config = GlmConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, pad_token_id=0,
    )  # fmt: skip
    model = GlmForCausalLM(config).eval()
    lora = LoraConfig(
        r=4, lora_alpha=8, target_modules=["q_proj", "gate_up_proj", "down_proj"], init_lora_weights=False
    )
    tuned = get_peft_model(model, lora).eval()
    folder = tmp_path_factory.mktemp("an adapter")
    tuned.save_pretrained(folder)
    ids = torch.arange(1, 17).reshape(2, 8)
    with torch.no_grad():
        logits = tuned(ids).logits
        with tuned.disable_adapter():
            plain = tuned(ids).logits
    base = {name.replace(".base_layer", ""): weight for name, weight in tuned.get_base_model().state_dict().items()}
    return folder, GlmForCausalLM(config).eval(), base, ids, logits, plain


def test_the_parts_give_the_logits_of_peft(adapter):
    folder, model, base, ids, logits, plain = adapter
    assert fused.for_vllm(folder) == folder / "vllm"
    from safetensors.torch import load_file

    weights = load_file(str(folder / "vllm/adapter_model.safetensors"))
    config = json.loads((folder / "vllm/adapter_config.json").read_text())
    assert config["target_modules"] == ["down_proj", "gate_proj", "q_proj", "up_proj"]
    assert not any("gate_up_proj" in name for name in weights)
    scale = config["lora_alpha"] / config["r"]

    def delta(module: str):
        name = f"base_model.model.{module}"
        return scale * weights[f"{name}.lora_B.weight"] @ weights[f"{name}.lora_A.weight"]

    merged = {name: weight for name, weight in base.items() if "lora_" not in name}
    for layer in range(2):
        stem = f"model.layers.{layer}"
        for module in (f"{stem}.self_attn.q_proj", f"{stem}.mlp.down_proj"):
            merged[f"{module}.weight"] = merged[f"{module}.weight"] + delta(module)
        # As vLLM applies them: each part to its rows of the fused weight.
        parts = torch.cat([delta(f"{stem}.mlp.gate_proj"), delta(f"{stem}.mlp.up_proj")])
        merged[f"{stem}.mlp.gate_up_proj.weight"] = merged[f"{stem}.mlp.gate_up_proj.weight"] + parts
    model.load_state_dict(merged)
    with torch.no_grad():
        found = model(ids).logits
    assert (found - logits).abs().max() < 1e-4
    assert (plain - logits).abs().max() > 1e-2  # the adapter does something, so that the line above can fail


# The second is Phi-3's: vLLM knows its fused modules.
@pytest.mark.parametrize("modules", [["q_proj", "gate_proj"], ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]])
def test_an_adapter_that_vllm_knows_gets_no_copy(tmp_path, modules):
    (tmp_path / "adapter_config.json").write_text(json.dumps({"target_modules": modules}))
    (tmp_path / "vllm").mkdir()
    assert fused.for_vllm(tmp_path) == tmp_path
    assert not (tmp_path / "vllm").exists()


def test_what_cannot_be_split_is_refused():
    name = "model.layers.0.mlp.gate_up_proj.lora_magnitude_vector.weight"
    with pytest.raises(
        UserError, match="cannot be split for vLLM; train without DoRA and bias, or use BACKEND=huggingface"
    ):
        fused.split({name: torch.zeros(1).numpy()})
