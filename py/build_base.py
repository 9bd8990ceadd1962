"""Prepare the base model of the ``tiny`` profile: tokenizer, the model's shape and an unlabelled pretraining corpus.

    python py/build_base.py prepare --base saves/tiny/base -- llamafactory-cli train --finetuning_type full ...
    python py/build_base.py finish --base saves/tiny/base --log logs/tiny.base.log

Between the two, ``bin/base_model.sh`` pretrains it with ``llamafactory-cli train``: one small GLM that has read
synthetic abstracts, has never seen which section one belongs to, and is fine-tuned with LoRA like any other model.
``prepare`` exits with 3 when the model is there already, and does nothing when a pretraining that was interrupted has
left what it begins with; ``plan``, with the same arguments, only says what it would do.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
from pathlib import Path
from typing import Any

from fewshot_sft.data.dataset_info import COLUMNS
from fewshot_sft.data.prompts import render_instruction
from fewshot_sft.data.tiny_corpus import LABELS, unlabelled
from fewshot_sft.errors import UserError
from fewshot_sft.identity import changes, read_record, settings_of, split_command
from fewshot_sft.jsonio import read_json, sha256_file, sha256_json, write_json
from fewshot_sft.preflight.model import size_of
from fewshot_sft.program import run
from fewshot_sft.provenance import git_revision, now, versions
from fewshot_sft.replaced import set_aside
from fewshot_sft.training.log import broken_loss, losses

# The names of GLM-4's own special tokens, so that LLaMA-Factory's `glm4` template works unchanged.
SPECIAL_TOKENS = (
    "<|endoftext|>",
    "[MASK]",
    "[gMASK]",
    "[sMASK]",
    "<sop>",
    "<eop>",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<|observation|>",
)
# An answer ends as GLM-4's does, at three tokens.
ENDS = {
    "pad_token_id": 0,
    "eos_token_id": [SPECIAL_TOKENS.index(token) for token in ("<|endoftext|>", "<|user|>", "<|observation|>")],
}
DATASET = "base_corpus"
RECORD = "base_model.json"
GENERATION = "generation_config.json"
EXIT_DONE = 3
PATHS = {"output_dir", "dataset_dir", "model_name_or_path"}
# What the documents ask for, by trial on the validation split. Predicting whole abstracts (`--stage pt`) spends nine
# tenths of the loss on filler words: with as many tokens it had not learned to tell the topics apart.
TASKS = {"key terms": 0.80, "continue": 0.10, "categories": 0.10}
LONG_INSTRUCTIONS = 0.2


def corpus(texts: int, seed: int) -> list[dict[str, str]]:
    """Return ``texts`` pretraining examples in Alpaca form, self-supervised: none pairs a document with its section.

    *key terms* asks for words of the document's topic, *continue* for the rest of an abstract after its first
    sentence, *categories* for one of the category names, any.
    """
    rng = random.Random(f"few-shot-sft tiny corpus {seed}")
    rows = []
    for text, terms in unlabelled(texts, seed):
        task = rng.choices(list(TASKS), list(TASKS.values()))[0]
        names = rng.sample(LABELS, len(LABELS))
        # Mostly a short instruction, sometimes one as long as the classifier's: the distance must not matter.
        long = task == "categories" or rng.random() < LONG_INSTRUCTIONS
        instruction = render_instruction(names) if long else "You are a patent examiner."
        if task == "key terms":
            # The blank before a word: inside a text, too, its token begins with one.
            ask, answer = f"List the key terms of the document:\n{text}", f" {terms}"
        elif task == "continue":
            first, rest = text.split(" . ", maxsplit=1)
            ask, answer = f"Continue the document:\n{first} .", f" {rest}"
        else:
            ask, answer = "Name one of the categories.", names[0]
        rows.append({"instruction": instruction, "input": ask, "output": answer})
    return rows


def make_tokenizer(rows: list[dict[str, str]], vocabulary: int, folder: Path) -> None:
    """Train a byte-level BPE tokenizer of ``vocabulary`` entries on the corpus and save it to ``folder``.

    The two files are as ``transformers`` reads them, which takes 4 s to import.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((text for row in rows for text in row.values()), trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
        "extra_special_tokens": list(SPECIAL_TOKENS[1:]),
        "clean_up_tokenization_spaces": False,
        "padding_side": "left",
    }
    write_json(folder / "tokenizer_config.json", names)


def describe_model(vocabulary: int, hidden: int, layers: int, folder: Path) -> None:
    """Write the ``config.json`` of a GLM to ``folder``; the trainer draws its weights, for it is to train from scratch.

    Its generation_config.json ends answers as :data:`ENDS` says.
    """
    config = {
        "architectures": ["GlmForCausalLM"],
        "model_type": "glm",
        "dtype": "float32",
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "intermediate_size": 2 * hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": hidden // 4,
        "max_position_embeddings": 2048,
        "attention_bias": True,
        "tie_word_embeddings": False,
        "bos_token_id": None,
    }
    write_json(folder / "config.json", config | ENDS)
    write_json(folder / GENERATION, {"do_sample": False, "use_cache": True} | ENDS)


def decides(rows: list[dict[str, str]], settings: dict[str, str], args: argparse.Namespace) -> dict[str, Any]:
    """Return all that the base model depends on: the texts, the model's size, the trainer's settings."""
    return {
        "corpus": sha256_json(rows),
        "settings": {
            "vocabulary": args.vocabulary,
            "hidden": args.hidden,
            "layers": args.layers,
            "seed": args.seed,
            **{key: value for key, value in settings.items() if key not in PATHS},
        },
        "versions": versions(("llamafactory", "torch", "transformers", "tokenizers")),
    }


def why_anew(args: argparse.Namespace, record: dict[str, Any], parts: dict[str, Any]) -> str | None:
    """Return None when the model of this identity is there, else why it is made ("" when there is none yet)."""
    if not args.force and record.get("status") == "done" and record.get("identity") == sha256_json(parts):
        return None
    if not args.base.exists():
        return ""
    return "--force" if args.force else changes(record.get("decides"), parts)


def plan(args: argparse.Namespace, command: list[str]) -> int:
    """Print the model's line of the plan; return 3 when there is nothing to make. Changes nothing."""
    parts = decides(corpus(args.texts, args.seed), settings_of(command), args)
    why = why_anew(args, read_record(args.base / RECORD), parts)
    if why is None:
        print(f"base model: done ({args.base})")
        return EXIT_DONE
    print("base model: to do" + f", {why}" * bool(why))
    return 0


def prepare(args: argparse.Namespace, command: list[str]) -> int:
    """Write what the pretraining begins with unless the pretrained model of the same identity is there."""
    rows = corpus(args.texts, args.seed)
    parts = decides(rows, settings_of(command), args)
    identity = sha256_json(parts)
    record = read_record(args.base / RECORD)
    why = why_anew(args, record, parts)
    if why is None:
        print(f"base model: already there ({args.base})")
        shutil.rmtree(args.init, ignore_errors=True)  # where `finish` did not come to it
        return EXIT_DONE
    if why:
        set_aside([args.base], record.get("identity"), why)
    shutil.rmtree(args.part, ignore_errors=True)
    prepared = read_record(args.init / RECORD)
    if not args.force and prepared.get("identity") == identity and prepared.get("files") == hashes(args.init):
        print("base model: prepared before, to be pretrained")
        return 0
    # One thread: the tokenizer trainer's merges must not depend on scheduling.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    shutil.rmtree(args.init, ignore_errors=True)
    args.init.mkdir(parents=True)
    make_tokenizer(rows, args.vocabulary, args.init)
    describe_model(args.vocabulary, args.hidden, args.layers, args.init)
    write_json(args.init / f"{DATASET}.json", rows)
    entry = {"file_name": f"{DATASET}.json", "columns": COLUMNS}
    write_json(args.init / "dataset_info.json", {DATASET: entry})
    note = {"schema": 1, "kind": "base model", "identity": identity, "decides": parts}
    write_json(args.init / RECORD, note | {"files": hashes(args.init)})
    print(f"base model: to be pretrained on {len(rows):,} unlabelled synthetic documents")
    return 0


def hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file of the initial model, but for its record."""
    return {path.name: sha256_file(path) for path in sorted(folder.iterdir()) if path.name != RECORD}


def finish(args: argparse.Namespace) -> int:
    """Check the pretraining's loss, write the record and give the model its final name, in one step."""
    logged = losses(args.part)
    if (reason := broken_loss(logged, read_json(args.part / "all_results.json").get("train_loss"))) is not None:
        raise UserError(f"base model: {reason} (log: {args.log})")
    record = read_json(args.init / RECORD) | {
        "status": "done",
        "parameters": size_of(args.part, "all").parameters,
        "loss": {"first": logged[0][1], "last": logged[-1][1]},
        "steps": logged[-1][0],
        "seconds": args.seconds,
        "finished": now(),
        "versions": versions(),
        "git_revision": git_revision(),
    }
    record.pop("files", None)  # the initial model's
    write_json(args.part / RECORD, record)
    # The trainer's own, of a model trained from scratch, answers without a KV cache.
    shutil.copyfile(args.init / GENERATION, args.part / GENERATION)
    os.replace(args.part, args.base)
    shutil.rmtree(args.init)
    loss = record["loss"]["last"]
    print(f"base model: {record['parameters']:,} parameters, pretrained, loss {loss:.3f} ({args.base})")
    return 0


def main(argv: list[str]) -> int:
    """Run ``plan``, ``prepare`` or ``finish``."""
    argv, command = split_command(argv)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("plan", "prepare", "finish"))
    parser.add_argument("--base", type=Path, required=True, help="folder of the pretrained model")
    parser.add_argument("--texts", type=int, default=4000, help="pretraining documents")
    parser.add_argument("--vocabulary", type=int, default=1600, help="entries of the tokenizer")
    parser.add_argument("--hidden", type=int, default=128, help="width of the model")
    parser.add_argument("--layers", type=int, default=2, help="depth of the model")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--force", action="store_true", help="make it again; what is there is moved aside")
    parser.add_argument("--seconds", type=int, help="wall time of the trainer")
    parser.add_argument("--log", type=Path, help="log of the trainer, for messages")
    args = parser.parse_args(argv)
    args.init, args.part = args.base.with_name("init"), args.base.with_name("base.part")
    if args.step == "finish":
        return finish(args)
    return plan(args, command) if args.step == "plan" else prepare(args, command)


if __name__ == "__main__":
    run(main)
