"""Evaluate runs: start the server, wait until it answers, check that the adapter is applied, ask every item, score.

    python py/eval.py tiny-llm_train_100 -- llamafactory-cli api --model_name_or_path saves/tiny/base ...
    python py/eval.py RUN RUN ... -- vllm serve saves/tiny/base ...
    python py/eval.py RUN --at http://127.0.0.1:8000/v1 --server-pid 4711

The server's command lacks only its address. `llamafactory-cli api` serves one run. `vllm serve` serves the base model
and loads the adapters while it runs; each run is then asked by a process of its own, which is the third form.

Answers are kept in objs/<run>.predictions.jsonl as they arrive; run the same command again to go on after an
interruption. objs/<run>.json is written last, and only when every item has an answer. With CONSTRAIN=1 every item is
asked a second time, for one of the labels and nothing else; those answers are kept in
objs/<run>.constrained.predictions.jsonl, and their score is added to the record beside the free one.

Exit status: 0 done (or done before), 1 failed, 2 something for the user to mend, 3 (--dry-run) there is something to
do, 4 (--at) the server failed it: a new one may do better. The program is not called evaluate.py, for that is the name
of a package that we use.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from fewshot_sft import dry_run, runs
from fewshot_sft.errors import UserError
from fewshot_sft.evaluation import one, together, trained
from fewshot_sft.evaluation.evaluation import Evaluation, has_results, set_results_aside
from fewshot_sft.identity import split_command
from fewshot_sft.program import DONE, TO_DO, end_on_signals, run
from fewshot_sft.runs import Run
from fewshot_sft.serving.server import Server, address, flags
from fewshot_sft.settings import Settings


def main(argv: list[str]) -> int:
    """Evaluate, or say what would be done; return the exit status."""
    ours, command = split_command(argv)
    args = parse_args(ours)
    settings = Settings.read()
    chosen = [runs.named(settings, name) for name in args.runs]
    if args.dry_run:
        return max([plan(each, command) for each in chosen])
    end_on_signals()
    if args.set_aside:
        for each in chosen:
            with one.lock(each):
                set_results_aside(each)
        return DONE
    if settings["SERVER"] == "vllm" and not args.at:
        return together.evaluate(settings, chosen, command, args.follow)
    (only,) = chosen
    if args.follow and only.is_trained:
        trained.wait(only, args.follow)
    if args.at:
        server = Server(args.at, args.server_pid, f"{only.title}: the server")
        return one.evaluate(only, lambda made: one.at_server(made, server))
    return one.evaluate(only, lambda made: one.with_own_server(made, command))


def plan(each: Run, command: list[str]) -> int:
    """Print what would be done for a run and return DONE or TO_DO.

    Raises:
        UserError: it could not be evaluated.
    """
    settings = each.settings
    data = str(Path(settings["DATA_DIR"]) / f"llm_{settings['SPLIT']}.json")
    waits = {data: "data", "base model": "base model", each.name: "training"}
    if each.method == runs.K_SHOT:
        waits[str(each.data_file)] = "data"
    planned = dry_run.first_planned(*waits)
    if planned is not None:
        state = f"to do ({waits[planned]})"
    else:
        trained.check(each)
        evaluation = Evaluation(each)
        why = "--force" if settings.force and has_results(each) else evaluation.why_made()
        if why is None:
            print(f"evaluation of {each.title}: done ({evaluation.files.record})")
            return DONE
        state = f"to do, {why}" if why else "to do"
    print(f"evaluation of {each.title}: {state}")
    if settings["SERVER"] == "vllm":
        base = runs.zero_shot(settings)
        dry_run.show(["env", "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True", *command, *flags(base, settings.api_port)])
    else:
        told = [f"{name}={value}" for name, value in address(each, settings.api_port).items()]
        dry_run.show(["env", *told, *command])
    return TO_DO


def parse_args(argv: list[str]) -> argparse.Namespace:
    """Parse our part of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("runs", nargs="+", metavar="RUN", help="name of a run of this sweep")
    add("--follow", type=int, metavar="PID", help="the process that is training the runs: wait for each one's end")
    add("--dry-run", action="store_true", help="ask and write nothing: print what would be done and why")
    add("--set-aside", action="store_true", help="only move what is there to objs/replaced/ (FORCE=1)")
    add("--at", metavar="URL", help="evaluate one run at a server that runs")
    add("--server-pid", type=int, metavar="PID", help="its process: no other program's answer counts")
    args = parser.parse_args(argv)
    if (args.at is None) != (args.server_pid is None):
        raise UserError("--at and --server-pid belong together; see --help")
    return args


if __name__ == "__main__":
    run(main)
