"""Make a model of GLM-4-9B-Chat's shape with random weights, to measure speed and memory where no weights can be had.

    bin/build_data.sh --profile glm4-9b-chat --dataset synthetic-patents --data-dir DATA
    .venv/bin/python bench/random_model.py --data DATA --out MODEL

The weights are drawn in bf16, on the GPU if there is one (35 s on an H200; 18 GB on the disk, and as much memory
without a GPU). Its tokenizer is trained on the data, with GLM-4's special tokens, so that the template ``glm4`` works;
entries that no text ever has fill the vocabulary up. What such a model answers means nothing: cap it (MAX_TOKENS=8).
The other arguments are the shape, those of ``transformers.GlmConfig``.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "py"))

from build_base import ENDS, make_tokenizer
from fewshot_sft.errors import UserError
from fewshot_sft.jsonio import read_json
from fewshot_sft.program import run

if TYPE_CHECKING:
    from transformers import GlmForCausalLM

SHAPE = {
    "hidden_size": 4096,
    "intermediate_size": 13696,
    "num_hidden_layers": 40,
    "num_attention_heads": 32,
    "num_key_value_heads": 2,
    "head_dim": 128,
    "vocab_size": 151_552,
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
    make_tokenizer(rows, min(WORDS, args.vocab_size), args.out)
    fill_up(args.out / "tokenizer.json", args.vocab_size)
    model = draw({name: getattr(args, name) for name in SHAPE}, args.seed)
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


def draw(shape: dict[str, int], seed: int) -> GlmForCausalLM:
    """Return the model in bf16, with its weights drawn on the GPU if there is one."""
    import torch
    from transformers import GenerationConfig, GlmConfig, GlmForCausalLM

    config = GlmConfig(
        **shape,
        **ENDS,
        attention_bias=True,
        rms_norm_eps=1.5625e-07,
        max_position_embeddings=131_072,
        tie_word_embeddings=False,
        bos_token_id=None,
    )
    torch.manual_seed(seed)
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
            model = GlmForCausalLM(config).to(torch.bfloat16)
    finally:
        torch.set_default_dtype(torch.float32)
    model.generation_config = GenerationConfig(**ENDS)
    return model


def parse_args(argv: list[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a data folder, for the tokenizer's texts")
    parser.add_argument("--out", type=Path, required=True, help="the model's folder")
    parser.add_argument("--seed", type=int, default=0)
    for name, value in SHAPE.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=value, help=f"default: {value}")
    return parser.parse_args(argv)


if __name__ == "__main__":
    run(main)
