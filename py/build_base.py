"""Make the base model of the profile ``tiny`` or ``tiny-deep``: tokenizer, shape, an unlabelled corpus, pretraining.

    python py/build_base.py -- llamafactory-cli train --finetuning_type full ...

bin/base_model.sh starts it. The result is one small GLM that has read synthetic abstracts, has never seen which section
one belongs to, and is fine-tuned with LoRA like any other model. It is made once; what an interrupted pretraining began
with is used again.

Exit status: 0 it is there; 1 the pretraining has failed; 2 something for you to mend; with --dry-run 3, it is to do.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from fewshot_sft import dry_run, locks
from fewshot_sft.children import Child
from fewshot_sft.data.dataset_info import COLUMNS
from fewshot_sft.data.prompts import render_instruction
from fewshot_sft.data.tiny_corpus import LABELS, unlabelled
from fewshot_sft.identity import changes, read_record, settings_of, split_command
from fewshot_sft.jsonio import read_json, sha256_file, sha256_json, write_json
from fewshot_sft.log import say, show_tail, start_log
from fewshot_sft.outcomes.outcomes import note_reason
from fewshot_sft.preflight.model import size_of
from fewshot_sft.program import DONE, FAILED, TO_DO, end_on_signals, run
from fewshot_sft.provenance import git_revision, now, versions
from fewshot_sft.replaced import set_aside
from fewshot_sft.settings import Settings
from fewshot_sft.training.checks import failure_of_process
from fewshot_sft.training.trainer_log import broken_loss, losses

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
VOCABULARY, HIDDEN = 1600, 128  # entries of the tokenizer, width of the model
SEED = 42
BASE = "base"  # the last part of MODEL
INIT, PART = "init", "base.part"  # beside it: what the pretraining begins with, what it writes
DATASET = "base_corpus"
RECORD = "base_model.json"
GENERATION = "generation_config.json"
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
    # One thread: merges must not depend on scheduling. The pretraining, which inherits this, tokenizes text by text.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
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


def decides(rows: list[dict[str, str]], layers: int, flags: dict[str, str]) -> dict[str, Any]:
    """Return all that the base model depends on: the texts, the model's size, the trainer's flags."""
    return {
        "corpus": sha256_json(rows),
        "settings": {
            "vocabulary": VOCABULARY,
            "hidden": HIDDEN,
            "layers": layers,
            "seed": SEED,
            **{key: value for key, value in flags.items() if key not in PATHS},
        },
        "versions": versions(("llamafactory", "torch", "transformers", "tokenizers")),
    }


def why_anew(base: Path, parts: dict[str, Any], force: bool) -> str | None:
    """Return None when the model that these parts decide is there, else why it is made ("" when there is none yet)."""
    record = read_record(base / RECORD)
    if not force and record.get("status") == "done" and record.get("identity") == sha256_json(parts):
        return None
    if not base.exists():
        return ""
    return "--force" if force else changes(record.get("decides"), parts)


def prepare(folder: Path, rows: list[dict[str, str]], parts: dict[str, Any], force: bool) -> bool:
    """Write what the pretraining begins with, unless an interrupted one has left it; return False when it is done.

    Args:
        folder: of the finished model, ``base``, and of ``init``, what its pretraining begins with.
        rows: the corpus.
        parts: what decides the model.
        force: make it again; what is there is moved aside.
    """
    base, init, identity = folder / BASE, folder / INIT, sha256_json(parts)
    why = why_anew(base, parts, force)
    if why is None:
        print(f"base model: already there ({base})")
        shutil.rmtree(init, ignore_errors=True)  # where the last one was killed before
        return False
    if why:
        set_aside([base], read_record(base / RECORD).get("identity"), why)
    shutil.rmtree(folder / PART, ignore_errors=True)
    prepared = read_record(init / RECORD)
    if not force and prepared.get("identity") == identity and prepared.get("files") == hashes(init):
        print("base model: prepared before, to be pretrained")
        return True
    shutil.rmtree(init, ignore_errors=True)
    init.mkdir(parents=True)
    make_tokenizer(rows, VOCABULARY, init)
    describe_model(VOCABULARY, HIDDEN, parts["settings"]["layers"], init)
    write_json(init / f"{DATASET}.json", rows)
    entry = {"file_name": f"{DATASET}.json", "columns": COLUMNS}
    write_json(init / "dataset_info.json", {DATASET: entry})
    note = {"schema": 1, "kind": "base model", "identity": identity, "decides": parts}
    write_json(init / RECORD, note | {"files": hashes(init)})
    print(f"base model: to be pretrained on {len(rows):,} unlabelled synthetic documents")
    return True


def hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file of the initial model, but for its record."""
    return {path.name: sha256_file(path) for path in sorted(folder.iterdir()) if path.name != RECORD}


def pretrain(settings: Settings, part: Path, command: list[str], log: Path, lock: int) -> str | None:
    """Run the trainer to its end; return why it has failed, or None."""
    start_log(log, command)
    say(f"base model: pretraining (log: {log})")
    with Child("the pretraining", command, patience=settings.stop_timeout, log=log, keep=[lock]) as trainer:
        status = trainer.wait()
    if reason := failure_of_process(status or 0, log):
        show_tail(log)
        return reason
    return broken_loss(losses(part))


def finish(folder: Path, seconds: int) -> dict[str, Any]:
    """Write the record, give the model its final name, in one step, and return the record."""
    init, part = folder / INIT, folder / PART
    logged = losses(part)
    record = read_json(init / RECORD) | {
        "status": "done",
        "parameters": size_of(part, "all").parameters,
        "loss": {"first": logged[0][1], "last": logged[-1][1]},
        "steps": logged[-1][0],
        "seconds": seconds,
        "finished": now(),
        "versions": versions(),
        "git_revision": git_revision(),
    }
    record.pop("files", None)  # the initial model's
    write_json(part / RECORD, record)
    # The trainer's own, of a model trained from scratch, answers without a KV cache.
    shutil.copyfile(init / GENERATION, part / GENERATION)
    os.replace(part, folder / BASE)
    shutil.rmtree(init)
    return record


def main(argv: list[str]) -> int:
    """Make the base model."""
    argv, command = split_command(argv)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and change nothing")
    args = parser.parse_args(argv)
    settings = Settings.read()
    folder = Path(settings.model).parent
    log = settings.logs_dir / f"{folder.name}.base.log"
    rows = corpus(settings.base_texts, SEED)
    parts = decides(rows, settings.base_layers, settings_of(command))
    if args.dry_run:
        why = why_anew(folder / BASE, parts, settings.force)
        if why is None:
            print(f"base model: done ({folder / BASE})")
            return DONE
        print("base model: to do" + f", {why}" * bool(why))
        dry_run.show(command)
        dry_run.note("base model")
        return TO_DO
    end_on_signals()
    with locks.hold(folder / ".base.lock", "base model", settings.stop_timeout + 30) as lock:
        if not prepare(folder, rows, parts, settings.force):
            return DONE
        begun = time.monotonic()
        if reason := pretrain(settings, folder / PART, command, log, lock):
            note_reason(reason)
            print(f"base model: pretraining failed: {reason} (log: {log})", file=sys.stderr)
            return FAILED
        record = finish(folder, round(time.monotonic() - begun))
    loss = record["loss"]["last"]
    print(f"base model: {record['parameters']:,} parameters, pretrained, loss {loss:.3f} ({folder / BASE})")
    return DONE


if __name__ == "__main__":
    run(main)
