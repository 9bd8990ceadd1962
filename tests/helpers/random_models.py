"""Models of common classes, of small shape and with random weights; a tokenizer that has their template's tokens."""

from __future__ import annotations

from pathlib import Path

# profile -> (class of the configuration, what its shape is called, the template's own tokens: begin, end, others)
SHAPE = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
GROUPED = SHAPE | {"num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 2048}
CHATML = ("<|endoftext|>", "<|im_end|>", ("<|im_start|>",))
MODELS = {
    "bloomz-560m": ("BloomConfig", {"hidden_size": 64, "n_layer": 2, "n_head": 4}, ("<s>", "</s>", ("<pad>",))),
    "qwen2.5-0.5b-instruct": ("Qwen2Config", GROUPED, CHATML),
    "qwen3-0.6b": ("Qwen3Config", GROUPED, CHATML),
    "smollm2-135m": ("LlamaConfig", GROUPED, CHATML),
    "llama3.1-8b": (
        "LlamaConfig",
        GROUPED,
        ("<|begin_of_text|>", "<|eot_id|>", ("<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>")),
    ),
    "gemma3-270m": ("Gemma3TextConfig", GROUPED, ("<bos>", "<eos>", ("<start_of_turn>", "<end_of_turn>", "<pad>"))),
}


def make(profile: str, texts: list[str], folder: Path) -> None:
    """Save the model and its tokenizer, learned from the texts."""
    import torch
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    kind, shape, (begin, end, others) = MODELS[profile]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = [begin, end, *others]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=800, special_tokens=special, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(texts, trainer)
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=begin, eos_token=end, pad_token=end, additional_special_tokens=special[2:]
    )
    fast.save_pretrained(folder)
    ids = {"bos_token_id": special.index(begin), "eos_token_id": special.index(end), "pad_token_id": special.index(end)}
    torch.manual_seed(0)
    configuration = getattr(transformers, kind)(vocab_size=len(fast), **shape, **ids)
    transformers.AutoModelForCausalLM.from_config(configuration).save_pretrained(folder)
