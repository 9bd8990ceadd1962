"""Make a model of a known shape with random weights, to measure speed and memory where no weights can be had.

    bin/build_data.sh --profile glm4-9b-chat --dataset synthetic-patents --data-dir DATA
    .venv/bin/python bench/random_model.py --data DATA --out MODEL [--shape glm4-9b]

The weights are drawn in bf16, on the GPU if there is one (GLM-4-9B-Chat: 35 s on an H200; 18 GB on the disk, and as
much memory without a GPU). Its tokenizer is trained on the data, with GLM-4's special tokens, so that the template
``glm4`` works, whatever the shape; entries that no text ever has fill the vocabulary up. What such a model answers
means nothing: cap it (MAX_TOKENS=8). The other arguments change the shape.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "py"))

from build_base import ENDS, make_tokenizer
from fewshot_sft.errors import UserError
from fewshot_sft.jsonio import read_json
from fewshot_sft.program import run

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NUMBERS = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "vocab_size",
)
# A model's type, its numbers, and what else its config.json has that decides what is computed.
GLM: dict[str, Any] = {"attention_bias": True, "max_position_embeddings": 131_072, "tie_word_embeddings": False}
LLAMA3 = {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
LONG: dict[str, Any] = {"max_position_embeddings": 32_768, "tie_word_embeddings": False}
SHAPES: dict[str, tuple[str, tuple[int, ...], dict[str, Any]]] = {
    "glm4-9b": ("glm", (4096, 13696, 40, 32, 2, 128, 151_552), GLM | {"rms_norm_eps": 1.5625e-07}),
    "glm4-0414-9b": ("glm4", (4096, 13696, 40, 32, 2, 128, 151_552), GLM | {"rms_norm_eps": 1e-05}),
    "qwen2.5-7b": ("qwen2", (3584, 18944, 28, 28, 4, 128, 152_064), LONG),
    "qwen2.5-1.5b": ("qwen2", (1536, 8960, 28, 12, 2, 128, 151_936), LONG | {"tie_word_embeddings": True}),
    "qwen3-4b": ("qwen3", (2560, 9728, 36, 32, 8, 128, 151_936), LONG | {"tie_word_embeddings": True}),
    "llama3.1-8b": (
        "llama",
        (4096, 14336, 32, 32, 8, 128, 128_256),
        LONG | {"rms_norm_eps": 1e-05, "rope_parameters": LLAMA3 | {"original_max_position_embeddings": 8192}},
    ),
    "mistral-7b": ("mistral", (4096, 14336, 32, 32, 8, 128, 32_768), LONG | {"sliding_window": None}),
    "smollm2-135m": ("llama", (576, 1536, 30, 9, 3, 64, 49_152), LONG | {"tie_word_embeddings": True}),
    "gemma3-270m": (
        "gemma3_text",
        (640, 2048, 18, 4, 1, 256, 262_144),
        LONG | {"sliding_window": 512, "query_pre_attn_scalar": 256, "tie_word_embeddings": True},
    ),
    "tiny-llama": ("llama", (64, 128, 2, 4, 2, 16, 1000), LONG),
}
WORDS = 750  # with so many, the synthetic texts have the lengths that docs/performance.md names


def main(argv: list[str]) -> int:
    """Write the tokenizer, then the model."""
    args = parse_args(argv)
    if args.out.exists() and any(args.out.iterdir()):
        raise UserError(f"{args.out}: is there already and not empty; give another folder with --out")
    rows = [row for path in sorted(args.data.glob("llm_train_*.json")) for row in read_json(path)]
    if not rows:
        raise UserError(f"{args.data}: no llm_train_<N>.json in it; make the data with bin/build_data.sh")
    args.out.mkdir(parents=True, exist_ok=True)
    kind, numbers, other = SHAPES[args.shape]
    given = {name: getattr(args, name) for name in NUMBERS}
    shape = {name: given[name] or number for name, number in zip(NUMBERS, numbers, strict=True)}
    make_tokenizer(rows, min(WORDS, shape["vocab_size"]), args.out)
    fill_up(args.out / "tokenizer.json", shape["vocab_size"])
    model = draw(kind, shape | other, args.seed)
    model.save_pretrained(args.out)
    print(f"{args.out}: {model.num_parameters():,} random parameters")
    return 0


def fill_up(tokenizer: Path, size: int) -> None:
    """Add entries that no text ever has to the vocabulary of a tokenizer.json, until there are ``size``."""
    content = read_json(tokenizer)
    entries = content["model"]["vocab"]
    # No merge leads to them; G with a dot stands for a blank.
    entries |= {f"\u0120filler{index}": index for index in range(len(entries), size)}
    tokenizer.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def draw(kind: str, shape: dict[str, Any], seed: int) -> PreTrainedModel:
    """Return the model in bf16, with its weights drawn on the GPU if there is one."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

    config = AutoConfig.for_model(kind, **shape, **ENDS, bos_token_id=None)
    torch.manual_seed(seed)
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
            model: PreTrainedModel = AutoModelForCausalLM.from_config(config).to(torch.bfloat16)
    finally:
        torch.set_default_dtype(torch.float32)
    model.generation_config = GenerationConfig(**ENDS)
    return model


def parse_args(argv: list[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a data folder, for the tokenizer's texts")
    parser.add_argument("--out", type=Path, required=True, help="the model's folder")
    parser.add_argument("--shape", choices=SHAPES, default="glm4-9b", help="default: glm4-9b")
    parser.add_argument("--seed", type=int, default=0)
    for name in NUMBERS:
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, help="default: the shape's")
    return parser.parse_args(argv)


if __name__ == "__main__":
    run(main)
