"""Check everything that can be checked before the first expensive minute, and report all problems at once.

    python py/preflight.py --name=tiny --model=saves/tiny/base --template=glm4 ... --out logs/tiny.preflight.json
    python py/preflight.py --after-data ...

It takes the sweep's settings as flags (``bin/sweep.sh`` passes all of them) and reads those that it needs. The first
call comes before the data is built; with ``--after-data`` it counts the examples that are longer than the cutoff, and
the texts that are longer than the server takes, for which data and base model must be there, and adds that to the
record.
Exit status: 0 nothing is in the way, 2 something for the user to mend.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fewshot_sft import planning
from fewshot_sft.errors import UserError, run
from fewshot_sft.identity import flags_of, read_record
from fewshot_sft.jsonio import write_json
from fewshot_sft.outcomes.outcomes import note_reason
from fewshot_sft.planning import facts as plan_facts
from fewshot_sft.planning.choice import MODEL_LENGTH
from fewshot_sft.preflight import Finding, adapters, data_set, labels, lengths, machine, model, templates
from fewshot_sft.preflight.machine import Writes
from fewshot_sft.preflight.model import Size
from fewshot_sft.provenance import PROJECT, now
from fewshot_sft.training import step_counts

EXIT_PROBLEM = 2
HUB, MODELSCOPE = "https://huggingface.co", "www.modelscope.cn"
# Data, logs, answers and pictures: small beside a large model, not nothing beside a full disk.
A_LITTLE, A_LITTLE_EACH = 2_000_000, 500_000
TINY_BASE = 15_000_000  # its corpus, its weights before and after


def main(argv: list[str]) -> int:
    """Run the checks, print what is wrong, write the record."""
    args = parse(argv)
    source = templates.source()
    known = templates.registered(source) if source else None
    findings = after_data(args, known) if args.after_data else before_data(args, known)
    problems = [finding for finding in findings if finding.result == "problem"]
    for finding in findings:
        if finding.result != "ok":
            print(f"{'error' if finding in problems else 'warning'}: {finding.text}", file=sys.stderr)
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        print(f"preflight: {count}; nothing was trained (SKIP_PREFLIGHT=1 goes on all the same)", file=sys.stderr)
        note_reason("; ".join(finding.text for finding in problems))
    if args.out:
        record(args, findings)
    return EXIT_PROBLEM if problems else 0


def before_data(args: argparse.Namespace, known: dict[str, templates.Slots] | None) -> list[Finding]:
    """Return the findings about machine, folders, packages, template and model."""
    found = [Finding("device", "problem", *_what_and_mend(problem)) for problem in args.problem]
    named = {
        "DATA_DIR": args.data_dir,
        "SAVES_DIR": args.saves_dir,
        "LOGS_DIR": args.logs_dir,
        "OBJS_DIR": args.objs_dir,
    }
    vllm = args.backend == "vllm"
    found += machine.folders(named | machine.caches(os.environ, args.device == "gpu", vllm))
    found += machine.shared_memory(args.preprocessing_workers, vllm)
    names = [*machine.PACKAGES, *(["vllm"] if vllm and args.device == "gpu" else [])]
    found += machine.packages(PROJECT / "requirements.lock", names, " gpu" if args.device == "gpu" else "")
    found += [templates.check(args.template, known), machine.port(args.api_port)]
    slots, plan = (known or {}).get(args.template), args.plan
    found += adapters.check_template(args.template, slots, args.train_args, args.server_args, plan.server)
    found += adapters.check(args.train_args, args.server_args, args.lora_rank, plan.server, args.backend)
    if wrong := step_counts.not_a_number(flags_of(args.train_args)):
        return [*found, Finding("settings", "problem", f"TRAIN_ARGS has {wrong}", "give it a number")]
    found.append(adapters.check_steps(args.sizes, trainer_settings(args)))
    found += data_set_of(args)
    finding, size = base_model(args)
    found.append(finding)
    if finding.result == "ok":
        target = flags_of(args.train_args).get("lora_target", args.lora_target)
        found.append(model.check_target(target, size.modules))
        if not is_made_here(args):
            found += template_tokens(args, slots)
    found += machine.disk(writes(args, size, vllm), size.basis)
    if args.device == "gpu":
        found += gpu_memory(args, size, vllm)
    return found


def trainer_settings(args: argparse.Namespace) -> dict[str, str]:
    """Return the trainer's settings that the number of steps depends on."""
    return {
        "per_device_train_batch_size": str(args.plan.batch_size),
        "gradient_accumulation_steps": str(args.plan.gradient_accumulation),
        "num_train_epochs": args.epochs,
        "warmup_steps": args.warmup_steps,
        **flags_of(args.train_args),
    }


def data_set_of(args: argparse.Namespace) -> list[Finding]:
    """Check the data set on its hub, unless the data are another's, or made already."""
    name = args.dataset
    made = (args.data_dir / "manifest.json").is_file()
    if args.train_file or made or name in ("", "synthetic-patents") or Path(name).exists():
        return []
    if args.use_modelscope_hub:
        return [data_set.check_modelscope(name, modelscope_endpoint())]
    return [data_set.check_hugging_face(name, hugging_face_endpoint(), os.environ)]


def template_tokens(args: argparse.Namespace, slots: templates.Slots | None) -> list[Finding]:
    """Compare the template's special tokens with the model's tokenizer, where that is here."""
    folder = plan_facts.model_folder(args.model, bool(args.use_modelscope_hub), os.environ)
    if slots is None or folder is None or not (folder / "tokenizer.json").is_file():
        return []
    config = read_record(folder / "config.json")
    rows = config.get("vocab_size") or (config.get("text_config") or {}).get("vocab_size")
    resized = "resize_vocab" in flags_of(args.train_args)
    finding = templates.check_tokens(args.template, slots, folder / "tokenizer.json", rows, resized)
    return [finding] if finding else []


def is_made_here(args: argparse.Namespace) -> bool:
    """Return whether the base model is the one that bin/base_model.sh makes."""
    return Path(args.model) == args.saves_dir / "tiny/base"


def hugging_face_endpoint() -> str:
    """Return the address of Hugging Face's hub, or of its mirror."""
    return (os.environ.get("HF_ENDPOINT") or HUB).rstrip("/")


def modelscope_endpoint() -> str:
    """Return the address of ModelScope's hub."""
    return f"https://{os.environ.get('MODELSCOPE_DOMAIN') or MODELSCOPE}"


def gpu_memory(args: argparse.Namespace, size: Size, vllm: bool) -> list[Finding]:
    """Compare what the hardware plan needs with what the GPU has; without the model's shape, what its weights do."""
    try:
        plan = planning.make(*plan_facts.collect(args.plan))
    except UserError as error:
        return [Finding("settings", "problem", *_what_and_mend(str(error)))]
    if (planned := machine.planned_memory(plan)) is not None:
        return planned
    words = [args.train_args, args.server_args]
    memory = machine.gpu_memory(size, args.precision, words, vllm, args.logs_dir / "hardware.json")
    return [memory] if memory else []


def after_data(args: argparse.Namespace, known: dict[str, templates.Slots] | None) -> list[Finding]:
    """Return the findings about the largest size's examples, and about the texts that will be asked."""
    folder = plan_facts.model_folder(args.model, bool(args.use_modelscope_hub), os.environ)
    tokenizer = folder / "tokenizer.json" if folder and (folder / "tokenizer.json").is_file() else None
    slots = (known or {}).get(args.template)
    trained = args.data_dir / f"llm_train_{max(args.sizes)}.json"
    asked = args.data_dir / f"llm_{args.plan.split}.json"
    found = template_tokens(args, slots) if is_made_here(args) else []
    if names := read_record(args.data_dir / "manifest.json").get("labels"):
        cleans = args.backend == "huggingface"  # LLaMA-Factory's engine does, whatever the tokenizer says
        found += labels.check(names, tokenizer, slots, args.plan.max_tokens, cleans)
    found += labels.check_texts([trained, asked], tokenizer, slots, args.template)
    found.append(lengths.check(trained, tokenizer, slots, args.cutoff_len))
    if args.backend == "vllm":
        found.append(asked_lengths(args, tokenizer, slots))
    return found


def asked_lengths(args: argparse.Namespace, tokenizer: Path | None, slots: templates.Slots | None) -> Finding:
    """Return whether the server takes every text that will be asked: one that it refuses ends an evaluation."""
    flag = "max-model-len" if args.plan.server == "vllm" else "vllm_maxlen"
    most = flags_of(args.server_args).get(flag.replace("-", "_"), str(MODEL_LENGTH))
    if not most.isdecimal():  # vLLM also takes 8k, and auto
        return lengths.unknown(f"SERVER_ARGS has --{flag} {most}", lengths.ASKED)
    rows, plan = args.data_dir / f"llm_{args.plan.split}.json", args.plan
    return lengths.check_asked(rows, plan.eval_limit, tokenizer, slots, plan.max_tokens, int(most), f"--{flag}")


def base_model(args: argparse.Namespace) -> tuple[Finding, Size]:
    """Check the base model, wherever it comes from."""
    folder = Path(args.model)
    made_here = is_made_here(args)
    if folder.is_dir():
        finding, size = model.check_folder(folder, args.lora_target)
        if made_here and finding.mend:
            finding = replace(finding, mend="make it again: bin/base_model.sh --force")
        return finding, size
    if made_here:
        # bin/base_model.sh makes it; its shapes are those of py/build_base.py.
        size = Size(lora=3_840, tokenizer=100_000, basis="the sizes that the profile tiny has had")
        return Finding("model", "ok", f"{folder} is to be made"), size
    if folder.is_file():
        return model.check_file(folder), Size()
    if args.model.startswith((".", "/", "~")) or args.model.count("/") != 1:
        what = f"{args.model}: no such folder, nor a name on a hub, which is OWNER/NAME"
        return Finding("model", "problem", what, "set MODEL to either"), Size()
    if args.use_modelscope_hub:
        cache = model.modelscope_cache()
        return model.check_modelscope(args.model, modelscope_endpoint(), cache, args.lora_target)
    return model.check_hugging_face(args.model, args.lora_target, hugging_face_endpoint(), os.environ)


def writes(args: argparse.Namespace, size: Size, vllm: bool) -> list[Writes]:
    """Return what the sweep will write, as far as it is not there yet."""
    adapters = args.saves_dir / args.model_name / "lora"
    runs = [
        size
        for size in args.sizes
        if args.force or read_record(adapters / f"{args.name}-llm_train_{size}/training.json").get("status") != "done"
    ]
    trained = machine.training_writes(size, args.lora_rank, len(runs), args.train_jobs, vllm)
    what = f"{len(runs)} adapter{'s' * (len(runs) != 1)} with checkpoints"
    planned = [Writes("SAVES_DIR", args.saves_dir, trained, what)]
    if is_made_here(args) and not Path(args.model).is_dir():
        planned.append(Writes("SAVES_DIR", args.saves_dir, TINY_BASE, "the base model"))
    if size.download:
        from huggingface_hub.constants import HF_HUB_CACHE

        planned.append(Writes("HF_HOME", Path(HF_HUB_CACHE), size.download, "the download of the model"))
    little = A_LITTLE_EACH * len(runs) + (A_LITTLE if runs else 0)
    for setting, folder in (("DATA_DIR", args.data_dir), ("LOGS_DIR", args.logs_dir), ("OBJS_DIR", args.objs_dir)):
        planned.append(Writes(setting, folder, little, {"D": "data", "L": "logs", "O": "results"}[setting[0]]))
    return planned


def record(args: argparse.Namespace, findings: Sequence[Finding]) -> None:
    """Write the findings to ``--out``; after the data they are added to those of before."""
    before = read_record(args.out).get("checks", []) if args.after_data else []
    checks = [each for each in before if each["check"] not in {finding.check for finding in findings}]
    checks += [finding.record() for finding in findings]
    if any(finding.check == "folders" and finding.result == "problem" for finding in findings):
        return  # it has been said
    counted = {
        name: sum(each["result"] == result for each in checks)
        for name, result in (("problems", "problem"), ("warnings", "warning"))
    }
    write_json(
        args.out,
        {"schema": 1, "kind": "preflight", "name": args.name, "created": now(), **counted, "checks": checks},
    )


def _what_and_mend(problem: str) -> tuple[str, str]:
    what, _, mend = problem.partition("; ")
    return what, mend


def parse(argv: list[str]) -> argparse.Namespace:
    """Parse the command line; settings that no check needs are left alone."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--after-data", action="store_true", help="count the examples that are longer than the cutoff")
    add("--problem", action="append", default=[], help="one that the caller has found, reported with the others")
    add("--out", type=Path, help="the record; none is written without")
    add("--sweep-name", dest="name", required=True)
    add("--sizes", type=lambda text: [int(size) for size in text.split()], required=True, help='as "100 500"')
    for name in ("model", "model-name", "template"):
        add(f"--{name}", required=True)
    for name in ("data-dir", "saves-dir", "logs-dir", "objs-dir"):
        add(f"--{name}", type=Path, required=True)
    add("--device", choices=("cpu", "gpu"), default="gpu")
    add("--backend", choices=("huggingface", "vllm"), default="vllm")
    add("--precision", default="auto")
    add("--lora-target", default="all")
    for name in ("train-args", "server-args", "dataset", "train-file"):
        add(f"--{name}", default="")
    add("--epochs", default="3.0")
    add("--warmup-steps", default="0")
    defaults = {"lora-rank": 8, "cutoff-len": 1024, "api-port": 8000, "force": 0, "preprocessing-workers": 1}
    for name, default in (defaults | {"use-modelscope-hub": 0}).items():
        add(f"--{name}", type=int, default=default)
    # `auto` is decided after this; for the disk the most that it can be.
    add("--train-jobs", type=lambda text: 8 if text == "auto" else int(text), default=1)
    args = parser.parse_known_args(argv)[0]
    plan = argparse.ArgumentParser(allow_abbrev=False)
    plan_facts.add_flags(plan)
    plan.add_argument("--split", default="test")
    plan.add_argument("--eval-limit", type=lambda text: int(text) if text else None)
    args.plan = plan.parse_known_args(argv)[0]
    return args


if __name__ == "__main__":
    run(main)
