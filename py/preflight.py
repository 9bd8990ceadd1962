"""Check everything that can be checked before the first expensive minute, and report all problems at once.

    python py/preflight.py [--dry-run]
    python py/preflight.py --after-data [--dry-run]

The first call comes before the data is built, examines the GPUs and keeps what it finds in logs/hardware.json. With
``--after-data`` it counts the examples that are longer than the cutoff, and the texts that are longer than the server
takes, for which data and base model must be there. What it finds goes to logs/<sweep>.preflight.json; a dry run writes
nothing.
Exit status: 0 nothing is in the way, 2 something for the user to mend.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fewshot_sft import hub, planning, revision, runs
from fewshot_sft.errors import UserError
from fewshot_sft.identity import flags_of, read_record
from fewshot_sft.jsonio import write_json
from fewshot_sft.outcomes.outcomes import note_reason
from fewshot_sft.planning import context, gpus
from fewshot_sft.planning import facts as plan_facts
from fewshot_sft.preflight import (
    Finding,
    adapters,
    amount,
    labels,
    lengths,
    machine,
    methods,
    model,
    templates,
)
from fewshot_sft.preflight.machine import Writes
from fewshot_sft.preflight.model import Size
from fewshot_sft.program import DONE, TO_MEND, run
from fewshot_sft.provenance import PROJECT, now
from fewshot_sft.serving import probe_set
from fewshot_sft.settings import Settings
from fewshot_sft.training import step_counts

TOYS = ("tiny", "tiny-deep")  # profiles
MODELSCOPE = "www.modelscope.cn"
# Data, logs, answers and pictures: small beside a large model, not nothing beside a full disk.
A_LITTLE, A_LITTLE_EACH = 2_000_000, 500_000
# What MODEL_SCRIPT makes: the most bytes meanwhile, and how large the model is then.
MADE = {
    # Its corpus, its weights before and after; the shapes are those of py/build_base.py.
    "bin/base_model.sh": (
        15_000_000,
        Size(lora=3_840, tokenizer=100_000, basis="the sizes that the profile tiny has had"),
    ),
    # Two GGUFs and the weights.
    "bin/fetch_model.sh": (
        470_000_000,
        Size(lora=305_280, tokenizer=3_600_000, basis="the shapes of SmolLM2-135M"),
    ),
}


def main(argv: list[str]) -> int:
    """Run the checks, print what is wrong, write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--after-data", action="store_true", help="look at the data, which is there now")
    parser.add_argument("--dry-run", action="store_true", help="write nothing")
    args = parser.parse_args(argv)
    settings = Settings.read()
    source = templates.source()
    known = templates.registered(source) if source else None
    findings = after_data(settings, known) if args.after_data else before_data(settings, known, not args.dry_run)
    problems = [finding for finding in findings if finding.result == "problem"]
    for finding in findings:
        if finding.result != "ok":
            print(f"{'error' if finding in problems else 'warning'}: {finding.text}", file=sys.stderr)
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        print(f"preflight: {count}; nothing was trained (SKIP_PREFLIGHT=1 goes on all the same)", file=sys.stderr)
        note_reason("; ".join(finding.text for finding in problems))
    if not args.dry_run:
        record(settings, findings, args.after_data)
    return TO_MEND if problems else DONE


def before_data(settings: Settings, known: dict[str, templates.Slots] | None, keeps: bool) -> list[Finding]:
    """Return the findings about machine, folders, packages, template and model; ``keeps`` what the GPUs are."""
    found, hardware = [], gpus.examine() if settings.device == "gpu" else None
    try:
        settings = settings.but(**gpus.resolve(settings, hardware))
    except UserError as error:
        found.append(Finding.of_error("device", error))
    named = {
        "DATA_DIR": settings.data_dir,
        "SAVES_DIR": settings.saves_dir,
        "LOGS_DIR": settings.logs_dir,
        "OBJS_DIR": settings.objs_dir,
    }
    vllm = settings.backend == "vllm"
    found += machine.folders(named | machine.caches(os.environ, settings.device == "gpu", vllm))
    found += machine.shared_memory(settings.preprocessing_workers, vllm)
    names = [*machine.PACKAGES, *(["vllm"] if vllm and settings.device == "gpu" else [])]
    found += machine.packages(PROJECT / "requirements.lock", names, " gpu" if settings.device == "gpu" else "")
    found.append(templates.check(settings.template, known))
    slots = (known or {}).get(settings.template)
    flags = settings.train_args, settings.server_args
    found += adapters.check_template(settings.template, slots, *flags, settings.server)
    found += adapters.check(*flags, settings.lora_rank, settings.server, settings.backend)
    try:
        step_counts.check_numbers("TRAIN_ARGS", flags_of(settings.train_args))
    except UserError as error:
        return [*found, Finding.of_error("settings", error)]
    found.append(adapters.check_steps(runs.sizes(settings), trainer_settings(settings)))
    found += methods.check(settings) + methods.check_unlabelled(settings)
    finding, size = base_model(settings)
    found.append(finding)
    is_toy = settings.profile in TOYS and settings.model_script
    if is_toy and settings.train_file and runs.LORA in runs.methods(settings):
        what = f"the profile {settings.profile} is a toy for its own texts and learns little of yours"
        mend = "PROFILE=smollm2-135m needs no GPU either, docs/models.md has others"
        found.append(Finding("model", "warning", what, mend))
    if finding.result == "ok":
        target = flags_of(settings.train_args).get("lora_target", settings.lora_target)
        found.append(model.check_target(target, size.modules))
        if not settings.model_script:
            found += template_tokens(settings, slots)
    found += machine.disk(writes(settings, size, vllm), size.basis)
    if hardware is not None:
        found += gpu_memory(settings, size, hardware)
        if keeps and not any(each.check == "folders" and each.result == "problem" for each in found):
            write_json(settings.logs_dir / "hardware.json", hardware)
    return found


def trainer_settings(settings: Settings) -> dict[str, str]:
    """Return the trainer's settings that the number of steps depends on."""
    found = {
        "per_device_train_batch_size": str(settings.batch_size),
        "gradient_accumulation_steps": str(settings.gradient_accumulation),
        "num_train_epochs": settings["EPOCHS"],
        "warmup_steps": settings["WARMUP_STEPS"],
        **flags_of(settings.train_args),
    }
    if settings.match_steps and (steps := step_counts.count(max(runs.sizes(settings)), found)) is not None:
        found["max_steps"] = str(steps)
    return found


def template_tokens(settings: Settings, slots: templates.Slots | None) -> list[Finding]:
    """Compare the template's special tokens with the model's tokenizer, where that is here."""
    folder = plan_facts.model_folder(settings)
    if slots is None or folder is None or not (folder / "tokenizer.json").is_file():
        return []
    config = read_record(folder / "config.json")
    rows = config.get("vocab_size") or (config.get("text_config") or {}).get("vocab_size")
    resized = "resize_vocab" in flags_of(settings.train_args)
    found = (
        templates.check_tokens(settings.template, slots, folder / "tokenizer.json", rows, resized),
        templates.check_pictures(settings.template, slots, folder),
    )
    return [finding for finding in found if finding]


def gpu_memory(settings: Settings, size: Size, hardware: dict[str, Any]) -> list[Finding]:
    """Compare what the hardware plan needs with what the GPU has; without the model's shape, what its weights do."""
    try:
        plan = planning.make(*plan_facts.collect(settings, hardware))
    except UserError as error:
        return [Finding.of_error("settings", error)]
    if plan.memory:
        return planned_memory(plan)
    bits = flags_of(settings.train_args).get("quantization_bit", "32" if settings.precision == "fp32" else "16")
    return machine.weights_fit(size, int(bits), hardware)


def planned_memory(plan: planning.Plan) -> list[Finding]:
    """Return what the hardware plan says of the GPU's memory."""
    found = plan.memory
    facts = {"bytes_needed": found["trainer_bytes"], "bytes_memory": found["gpu_bytes"], "settings": plan.settings}
    findings = [
        Finding("GPU memory", "problem", each.what, each.mend, facts)
        if each.certain
        else Finding("GPU memory", "warning", f"if examples are as long as CUTOFF_LEN, {each.what}", each.mend, facts)
        for each in plan.problems
    ]
    findings += [Finding("GPU memory", "warning", each, facts=facts) for each in plan.warnings]
    needs = f"a trainer needs {amount(found['trainer_bytes'])} of the GPU's {amount(found['gpu_bytes'])}"
    return findings or [Finding("GPU memory", "ok", needs, facts=facts)]


def after_data(settings: Settings, known: dict[str, templates.Slots] | None) -> list[Finding]:
    """Return the findings about the largest size's examples, and about the texts that will be asked."""
    folder = plan_facts.model_folder(settings)
    tokenizer = folder / "tokenizer.json" if folder and (folder / "tokenizer.json").is_file() else None
    slots = (known or {}).get(settings.template)
    trained = settings.data_dir / f"{runs.dataset_name(max(runs.sizes(settings)), settings.seeds[0])}.json"
    asked = settings.data_dir / f"llm_{settings.split}.json"
    found = template_tokens(settings, slots) if settings.model_script else []
    if names := read_record(settings.data_dir / "manifest.json").get("labels"):
        cleans = settings.backend == "huggingface"  # LLaMA-Factory's engine does, whatever the tokenizer says
        found += labels.check(names, tokenizer, slots, settings.max_tokens, cleans)
    found += labels.check_texts([trained, asked], tokenizer, slots, settings.template)
    found.append(lengths.check(trained, tokenizer, slots, settings.cutoff_len))
    if settings.backend == "vllm":
        found.append(asked_lengths(settings, tokenizer, slots))
    return found


def asked_lengths(settings: Settings, tokenizer: Path | None, slots: templates.Slots | None) -> Finding:
    """Return whether the server takes every text that will be asked: one that it refuses ends an evaluation."""
    flag = "max-model-len" if settings.server == "vllm" else "vllm_maxlen"
    given = flags_of(settings.server_args).get(flag.replace("-", "_"), "")
    if given and not given.isdecimal():  # vLLM also takes 8k, and auto
        return lengths.unknown(f"SERVER_ARGS has --{flag} {given}", lengths.ASKED)
    folder = plan_facts.model_folder(settings)
    takes = lengths.Takes(context.context(settings, folder), context.of_model(folder), f"--{flag}")
    rows, probes = (settings.data_dir / f"llm_{split}.json" for split in (settings.split, "test"))
    found = lengths.check_asked(rows, settings.eval_limit, tokenizer, slots, settings.max_tokens, takes)
    if found.result == "problem":
        return found
    # Before all others the server is asked the first, and with ADAPTER_CHECK the others, too.
    count = probe_set.ITEMS if settings.adapter_check else 1
    probed = lengths.check_asked(probes, count, tokenizer, slots, probe_set.MAX_TOKENS, takes, probes=True)
    return probed if probed.result == "problem" else found


def base_model(settings: Settings) -> tuple[Finding, Size]:
    """Check the base model, wherever it comes from."""
    folder = Path(settings.model)
    made_here = settings.model_script
    if folder.is_dir():
        finding, size = model.check_folder(folder, settings.lora_target)
        if made_here and finding.mend:
            finding = replace(finding, mend=f"make it again: {settings.model_script} --force")
        return finding, size
    if made_here:
        return Finding("model", "ok", f"{folder} is to be made"), MADE[settings.model_script][1]
    if folder.is_file():
        return model.check_file(folder), Size()
    if not hub.is_name(settings.model):
        what = f"{settings.model}: no such folder, nor a name on a hub, which is OWNER/NAME"
        return Finding("model", "problem", what, "set MODEL to either"), Size()
    if settings.use_modelscope_hub:
        address = f"https://{os.environ.get('MODELSCOPE_DOMAIN') or MODELSCOPE}"
        return model.check_modelscope(settings.model, address, model.modelscope_cache(), settings.lora_target)
    where = hub.endpoint(), os.environ, revision.wanted(settings)
    return model.check_hugging_face(settings.model, settings.lora_target, *where)


def writes(settings: Settings, size: Size, vllm: bool) -> list[Writes]:
    """Return what the sweep will write, as far as it is not there yet."""
    to_do = [
        run
        for run in runs.trainings(settings)
        if settings.force or read_record(run.adapter / "training.json").get("status") != "done"
    ]
    # `auto` is decided after this; for the disk the most that it can be.
    trained = machine.training_writes(size, settings.lora_rank, len(to_do), settings.train_jobs or 8, vllm)
    what = f"{len(to_do)} adapter{'s' * (len(to_do) != 1)} with checkpoints"
    planned = [Writes("SAVES_DIR", settings.saves_dir, trained, what)]
    if settings.model_script and not Path(settings.model).is_dir():
        planned.append(Writes("SAVES_DIR", settings.saves_dir, MADE[settings.model_script][0], "the base model"))
    if size.download:
        from huggingface_hub.constants import HF_HUB_CACHE

        planned.append(Writes("HF_HOME", Path(HF_HUB_CACHE), size.download, "the download of the model"))
    little = A_LITTLE_EACH * len(to_do) + (A_LITTLE if to_do else 0)
    for setting, what in (("DATA_DIR", "data"), ("LOGS_DIR", "logs"), ("OBJS_DIR", "results")):
        planned.append(Writes(setting, Path(settings[setting]), little, what))
    return planned


def record(settings: Settings, findings: Sequence[Finding], after_data: bool) -> None:
    """Write the findings; after the data they are added to those of before."""
    path = settings.logs_dir / f"{settings.sweep_name}.preflight.json"
    before = read_record(path).get("checks", []) if after_data else []
    checks = [each for each in before if each["check"] not in {finding.check for finding in findings}]
    checks += [finding.record() for finding in findings]
    if any(finding.check == "folders" and finding.result == "problem" for finding in findings):
        return  # it has been said
    counted = {
        name: sum(each["result"] == result for each in checks)
        for name, result in (("problems", "problem"), ("warnings", "warning"))
    }
    write_json(
        path,
        {"schema": 1, "kind": "preflight", "name": settings.sweep_name, "created": now(), **counted, "checks": checks},
    )


if __name__ == "__main__":
    run(main)
