"""Evaluate one size through a running OpenAI-compatible server: ask every item, score, write the record.

    FEWSHOT_API_KEY=... python py/infer_eval.py --run tiny-llm_train_100 --name tiny --size 100 --data data/tiny \\
        --base-url http://127.0.0.1:8000/v1 --served-model tiny --template glm4 \\
        --model saves/tiny/base --adapter saves/tiny/lora/tiny-llm_train_100

Answers are kept in objs/<run>.predictions.jsonl as they arrive; run the same command again to go on after an
interruption. objs/<run>.json is written last, and only when every item has an answer. With --constrain every item
is asked a second time, for one of the labels and nothing else; those answers are kept in
objs/<run>.constrained.predictions.jsonl, and their score is added to the record beside the free one.
Exit status: 0 done (or done before), 1 incomplete because of the server, 2 something for the user to mend,
4 (only with --only-check or --plan, which need no server) there is something to evaluate.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from pathlib import Path
from typing import Any

from fewshot_sft.errors import UserError
from fewshot_sft.evaluation import metrics, notebook_pickle, predictions, questions
from fewshot_sft.evaluation.ask import GaveUp, Patience, ask_all
from fewshot_sft.evaluation.askers import Askers
from fewshot_sft.evaluation.client import Answer, ClientSettings, Refused, Retry
from fewshot_sft.evaluation.concurrency import START, START_BATCHING, Adaptive, Fixed, Pace
from fewshot_sft.evaluation.files import EvaluationFiles, identity_of, only_one
from fewshot_sft.evaluation.predictions import Prediction, PredictionLog
from fewshot_sft.evaluation.questions import EvaluationSet, Item
from fewshot_sft.evaluation.record import findings, summary
from fewshot_sft.identity import changes, read_record
from fewshot_sft.jsonio import sha256_json, write_json
from fewshot_sft.outcomes.outcomes import note_reason
from fewshot_sft.program import run
from fewshot_sft.progress import Progress
from fewshot_sft.provenance import PROJECT, git_revision, now, versions
from fewshot_sft.replaced import set_aside
from fewshot_sft.serving import endpoint
from fewshot_sft.serving.identity import what_serves
from fewshot_sft.serving.ports import NotOurs, ServerPort
from fewshot_sft.serving.prompt import SERVERS, stop_token_ids
from fewshot_sft.serving.weights import adapter_identity

EXIT_INCOMPLETE = 1
EXIT_TO_DO = 4
# Raised when the same predictions would be scored differently: records of before are then made anew.
SCORING = 2


def main(argv: list[str]) -> int:
    """Evaluate unless the same evaluation is there already; return the exit status."""
    args = parse_args(argv)
    if (args.only_check or args.plan) and args.adapter:
        check_trained(args.adapter, args.size)
    data = questions.load(args.data, args.split, args.limit)
    decides = what_decides(args, data)
    files = EvaluationFiles.of(args.objs, args.run, args.split)
    if args.plan:
        why = why_asked(args, data, decides, files)
        state = f"done ({files.record})" if why is None else "to do" + f", {why}" * bool(why)
        print(f"evaluation {args.size}: {state}")
        return 0 if why is None else EXIT_TO_DO
    if args.only_check:
        return 0 if is_done(args, data, decides, files) else EXIT_TO_DO
    args.objs.mkdir(parents=True, exist_ok=True)
    with only_one(files.lock, args.run):
        return 0 if is_done(args, data, decides, files) else evaluate(args, data, decides, files)


def check_trained(adapter: Path, size: int) -> None:
    """Let only a finished training be evaluated: a failed size must not look like a weak one.

    Raises:
        UserError: the adapter's training has failed, was interrupted or never ran.
    """
    record = read_record(adapter / "training.json")
    if record.get("status") == "done":
        return
    if record:
        state = f"its training failed: {record.get('reason', 'no reason noted')}"
    elif adapter.is_dir():
        state = "its training was interrupted"
    else:
        state = "it was not trained"
    raise UserError(f"size {size}: not evaluated, {state} ({adapter}); run bin/train.sh")


def what_decides(args: argparse.Namespace, data: EvaluationSet) -> dict[str, Any]:
    """Return what the answers depend on: with any of it changed, earlier predictions do not count."""
    return {
        "items": data.identity,
        "adapter": adapter_identity(args.adapter) if args.adapter else None,
        **what_serves(args.model, args.template, args.backend, args.server),
        "max_tokens": args.max_tokens,
        "temperature": 0,
    }


def what_decides_constrained(data: EvaluationSet, decides: dict[str, Any]) -> dict[str, Any]:
    """Return what the answers of --constrain depend on."""
    return decides | {"choice": data.labels}


def identity_of_result(args: argparse.Namespace, data: EvaluationSet, decides: dict[str, Any]) -> str:
    """Return what the record's figures depend on: the answers, and how they are scored."""
    return sha256_json(
        {"predictions": sha256_json(decides), "labels": data.labels, "seed": args.seed, "scoring": SCORING}
    )


def is_done(args: argparse.Namespace, data: EvaluationSet, decides: dict[str, Any], files: EvaluationFiles) -> bool:
    """Return whether there is nothing to do, and say so."""
    if why_asked(args, data, decides, files) is not None:
        return False
    print(f"size {args.size}: already evaluated ({files.record})")
    return True


def why_asked(
    args: argparse.Namespace, data: EvaluationSet, decides: dict[str, Any], files: EvaluationFiles
) -> str | None:
    """Return None when this evaluation is there, whole, else why it is made ("" when there is nothing yet)."""
    why = why_free_asked(args, data, decides, files)
    if why is not None or not args.constrain:
        return why
    decides = what_decides_constrained(data, decides)
    why = why_answers_asked(args, data, decides, files.constrained)
    if why is None:
        found = read_record(files.record).get("constrained")
        done = isinstance(found, dict) and found.get("identity") == identity_of_result(args, data, decides)
        why = None if done else "all items have an answer, to be scored"
    if why is None:
        return None
    return f"constrained: {why}" if why else "constrained answers"


def why_free_asked(
    args: argparse.Namespace, data: EvaluationSet, decides: dict[str, Any], files: EvaluationFiles
) -> str | None:
    """Return the same of the evaluation without --constrain."""
    if args.force and files.record.exists():
        return "--force"
    why = why_answers_asked(args, data, decides, files.predictions)
    if why is not None:
        return why
    if not files.pickle.exists() or identity_of(files.record) != identity_of_result(args, data, decides):
        return "all items have an answer, to be scored"
    return None


def why_answers_asked(args: argparse.Namespace, data: EvaluationSet, decides: dict[str, Any], path: Path) -> str | None:
    """Return None when a predictions file is whole and of these questions, else why they are asked."""
    if args.force:
        return "--force" if path.exists() else ""
    stored = predictions.read(path)
    if not stored.is_of(sha256_json(decides)):
        return changes((stored.header or {}).get("decides"), decides) if path.exists() else ""
    if stored.damaged or len(stored.predictions) < len(data.items):
        return f"{len(stored.predictions)} of {len(data.items)} items have an answer"
    return None


def evaluate(args: argparse.Namespace, data: EvaluationSet, decides: dict[str, Any], files: EvaluationFiles) -> int:
    """Ask what has no answer yet, then score and write the results; the caller holds the lock."""
    what = f"size {args.size}"
    if why_free_asked(args, data, decides, files) is not None:
        if files.record.exists():  # beside an evaluation under way it would pass for its result
            # The record last: when this is killed in between, the next one finds it and moves it too.
            set_aside([files.pickle, files.record], identity_of(files.record), "to be made anew")
        found = answers_to(args, data, decides, files.predictions, what)
        if found is None:
            return EXIT_INCOMPLETE
        log, timings = found
        rest = {"timings": timings, "identity": identity_of_result(args, data, decides)}
        write_results(args, data, log, files, rest)
    if args.constrain:
        decides = what_decides_constrained(data, decides)
        found = answers_to(args, data, decides, files.constrained, f"{what}, constrained", data.labels)
        if found is None:
            return EXIT_INCOMPLETE
        log, timings = found
        rest = {"timings": timings, "identity": identity_of_result(args, data, decides)}
        add_constrained(args, data, log, files, rest)
    return 0


def answers_to(
    args: argparse.Namespace,
    data: EvaluationSet,
    decides: dict[str, Any],
    path: Path,
    what: str,
    choices: list[str] | None = None,
) -> tuple[PredictionLog, dict[str, Any]] | None:
    """Ask what has no answer in a predictions file yet.

    Returns the file and how long it took; None when there are items left without an answer, after saying so.
    """
    asked = sha256_json(decides)
    stored = predictions.read(path)
    if args.force or not stored.is_of(asked):
        before = stored.header or {}
        set_aside([path], before.get("identity"), _why(args.force, before.get("decides"), decides))
    log = PredictionLog(path, {"schema": 1, "identity": asked, "run": args.run, "decides": decides})
    if log.damaged:
        print(f"{what}: dropped {log.damaged} damaged line(s) of {path}", file=sys.stderr)
    started, resumed = now(), len(log.predictions)
    try:
        measured, trouble = ask_missing(args, data, log, what, choices)
    finally:
        log.close()
    if trouble:
        note_reason(f"incomplete, {len(log.predictions)} of {len(data.items)} items answered; {trouble}")
        print(
            f"{what}: evaluation incomplete: {len(log.predictions)} of {len(data.items)} items answered, "
            f"{len(data.items) - len(log.predictions)} not; {trouble}. "
            f"The answers are kept in {path}; run the same command again to go on",
            file=sys.stderr,
        )
        return None
    answered = len(log.predictions) - resumed
    return log, {"started": started, "finished": now(), "answered": answered, "resumed": resumed, **measured}


def ask_missing(
    args: argparse.Namespace, data: EvaluationSet, log: PredictionLog, what: str, choices: list[str] | None
) -> tuple[dict[str, Any], str]:
    """Ask the items that ``log`` has no answer to.

    Returns what was measured, and what went wrong with the server ("" when all items have an answer).

    Raises:
        UserError: the server refuses for good.
    """
    missing = [(index, item) for index, item in enumerate(data.items) if index not in log.predictions]
    if not missing:
        return {}, ""
    settings = ClientSettings(
        args.base_url,
        args.served_model,
        args.max_tokens,
        args.request_timeout,
        Retry(args.max_retries, args.retry_wait),
        tuple(choices) if choices is not None else None,
        tuple(stop_token_ids(args.chat_template)) if args.chat_template else (),
    )
    adaptive = args.concurrency == "auto"
    start = START_BATCHING if args.server == "vllm" and args.helpers_at_once else START
    pace: Pace = Adaptive(args.request_timeout, start=start) if adaptive else Fixed(args.concurrency)
    processes = None if args.processes == "auto" else args.processes
    port = ServerPort(endpoint.port_of(args.base_url), args.server_pid) if args.server_pid else None
    progress = Progress(what, len(data.items), len(log.predictions), args.progress_seconds)
    measured: dict[str, Any] = {}

    def keep(index: int, answer: Answer) -> None:
        if port:
            port.check_again()
        log.append(Prediction(index, answer.text, data.items[index].output, answer.seconds, answer.cut))
        progress.advance()

    async def ask_them() -> list[tuple[int, str]]:
        patience = Patience(stall=args.stall_seconds)
        askers = Askers(
            settings,
            endpoint.api_key(),
            pace,
            items=len(missing),
            processes=processes,
            at_once=args.helpers_at_once,
            idle=metrics.prepare,
        )

        async def ask(item: Item) -> Answer:
            return await askers.ask(item.instruction, item.input)

        def tick() -> None:
            if port:
                port.check()
            progress.tick()
            askers.tick()

        async with askers:
            failures = await ask_all(missing, ask, keep, pace, patience, tick)
        measured["processes"] = askers.processes
        measured["client_start_seconds"] = round(askers.start_seconds, 3)
        return failures

    begin = time.monotonic()
    trouble = ""
    try:
        if port:
            port.check()
        try:
            failures = asyncio.run(ask_them())
        except Refused as error:
            if port:
                port.check()
            raise UserError(
                f"{what}: the server refuses: {error} (at {args.base_url}, as {args.served_model}, "
                f"key from {endpoint.API_KEY}); the answers so far are kept in {log.path}"
            ) from None
        if failures:
            trouble = f"first error: item {failures[0][0]}: {failures[0][1]}"
    except GaveUp as error:
        trouble = f"gave up: {error}"
    except NotOurs as error:
        trouble = f"the server has lost its port: {error}"
    finally:
        progress.close()
    seconds = time.monotonic() - begin
    measured |= {"seconds": round(seconds, 3), "items_per_second": round(len(missing) / seconds, 2)}
    if adaptive:
        measured["highest_concurrency"] = pace.highest
    return measured, trouble


def score(
    args: argparse.Namespace, data: EvaluationSet, log: PredictionLog
) -> tuple[list[str], list[str], dict[str, Any]]:
    """Return the answers in the order of the items, the items' labels, and what follows from the two."""
    found = [log.predictions[index] for index in range(len(data.items))]
    answers, truth = [each.pred for each in found], [item.output for item in data.items]
    return answers, truth, findings(answers, truth, data.labels, sum(each.cut for each in found), args.seed)


def write_results(
    args: argparse.Namespace, data: EvaluationSet, log: PredictionLog, files: EvaluationFiles, rest: dict[str, Any]
) -> None:
    """Score all answers; write the pickle, and last the record: it marks the evaluation as complete."""
    answers, truth, result = score(args, data, log)
    # The notebook gets the original's own scoring, so that its figures compare with those it was published with.
    notebook_pickle.write(files.pickle, args.run, answers, truth, data.labels, result["seed_scoring"]["metrics"])
    settings = {
        "data": str(data.path),
        "data_sha256": data.sha256,
        "limit": args.limit,
        "served_model": args.served_model,
        "temperature": 0,
        "max_tokens": args.max_tokens,
        "concurrency": args.concurrency,
        "processes": args.processes,
        "request_timeout": args.request_timeout,
        "max_retries": args.max_retries,
    }
    record = {
        "schema": 1,
        "kind": "evaluation",
        "run": args.run,
        "name": args.name,
        "size": args.size,
        "split": args.split,
        "model": args.model,
        "adapter": str(args.adapter) if args.adapter else None,
        "template": args.template,
        "server": args.server,
        "backend": args.backend,
        **result,
        "predictions": str(files.predictions),
        "settings": _measured(settings),
        "versions": versions(),
        "git_revision": git_revision(),
        **rest,
    }
    write_json(files.record, _measured(record))
    for line in summary(result):
        print(f"size {args.size}: {line}")


def add_constrained(
    args: argparse.Namespace, data: EvaluationSet, log: PredictionLog, files: EvaluationFiles, rest: dict[str, Any]
) -> None:
    """Score the answers of --constrain and add them to the record, which is there."""
    _, _, result = score(args, data, log)
    constrained = {key: result[key] for key in ("metrics", "counts", "confusion")}
    record = read_record(files.record) | {"constrained": constrained | {"predictions": str(files.constrained)} | rest}
    write_json(files.record, record)
    for line in summary(result):
        print(f"size {args.size}, constrained to the labels: {line}")


def _measured(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields without those that do not apply: absent rather than null."""
    return {key: value for key, value in fields.items() if value is not None}


def _why(force: bool, before: object, decides: dict[str, Any]) -> str:
    if force:
        return "made anew (--force)"
    if not isinstance(before, dict):
        return "not readable, made anew"
    return f"made anew, for it is of another {', '.join(key for key in decides if before.get(key) != decides[key])}"


def parse_args(argv: list[str]) -> argparse.Namespace:
    """Parse and check the command line.

    Raises:
        UserError: a value is out of range or two contradict each other.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--run", required=True, help="NAME-llm_train_SIZE; names the result files")
    add("--name", required=True, help="the sweep's name")
    add("--size", type=int, required=True, help="number of training examples; 0 is the base model without adapter")
    add("--split", choices=("test", "valid"), default="test")
    add("--data", type=Path, required=True, help="folder with llm_<split>.json and manifest.json")
    add("--base-url", help="http://127.0.0.1:PORT/v1")
    add("--served-model", required=True, help="the name that the server knows the model by")
    add("--server-pid", type=int, help="its process: an answer of a program that has taken its port is none")
    add("--model", required=True, help="folder (or hub name) of the base model that is served")
    add("--adapter", type=Path, help="folder of the LoRA adapter that is served; none for size 0")
    add("--template", required=True)
    add("--server", choices=SERVERS, default="llamafactory", help="the program that serves (default: llamafactory)")
    add("--backend", choices=("huggingface", "vllm"), default="huggingface", help="its engine; of --server vllm: vllm")
    add("--chat-template", type=Path, help="that --server vllm was given; its record tells what ends an answer")
    add("--constrain", action="store_true", help="ask everything a second time, for a label and nothing else")
    add("--objs", type=Path, default=PROJECT / "objs")
    add(
        "--concurrency",
        type=_number_or_auto,
        default=16,
        help="requests under way at once; auto: as many as make the server answer faster (default: 16)",
    )
    add(
        "--processes",
        type=_number_or_auto,
        default="auto",
        help="that ask; auto: this one, and when it is the bottleneck up to 4 others (default: auto)",
    )
    add(
        "--helpers-at-once",
        action="store_true",
        help="for a fast server that only this evaluation asks: with --processes auto begin with 2 others, where there "
        "are many items and CPUs; with --concurrency auto and --server vllm begin with many requests",
    )
    add("--max-tokens", type=int, default=32, help="longest answer, in tokens (default: 32)")
    add("--request-timeout", type=float, default=120, help="seconds for one request (default: 120)")
    add("--max-retries", type=int, default=5, help="for each item (default: 5)")
    add("--retry-wait", type=float, default=0.5, help="seconds before the first retry, doubled each time, 8 at most")
    add("--stall-seconds", type=float, default=300, help="give up when nothing is answered for so long (default: 300)")
    add("--progress-seconds", type=float, default=30, help="between two lines of progress in a log (default: 30)")
    add("--limit", type=int, help="only the first so many items")
    add("--seed", type=int, default=42, help="of the original's own scoring (default: 42)")
    add("--force", action="store_true", help="ask everything anew; what is there is moved to objs/replaced/")
    add("--only-check", action="store_true", help="ask nothing: exit 0 when all is evaluated, 4 when there is work")
    add("--plan", action="store_true", help="as --only-check; print what would be done and why")
    args = parser.parse_args(argv)
    least = {
        "size": 0,
        "concurrency": 1,
        "processes": 1,
        "max_tokens": 1,
        "max_retries": 0,
        "limit": 1,
        "retry_wait": 0,
    }
    for name, minimum in least.items():
        value = getattr(args, name)
        if isinstance(value, int | float) and value < minimum:
            raise UserError(f"--{name.replace('_', '-')} {value}: {minimum} is the least")
    for name in ("request_timeout", "stall_seconds", "progress_seconds"):
        if not getattr(args, name) > 0:
            raise UserError(f"--{name.replace('_', '-')} {getattr(args, name):g}: more than 0 seconds is needed")
    if args.server == "vllm":
        args.backend = "vllm"
    elif args.constrain:
        raise UserError("--constrain: only vLLM's own server can constrain answers; use it with SERVER=vllm")
    if args.base_url:
        args.base_url = endpoint.check_url(args.base_url)
    elif not (args.only_check or args.plan):
        raise UserError("--base-url is missing: the server's address, like http://127.0.0.1:8000/v1")
    if args.run != f"{args.name}-llm_train_{args.size}":
        raise UserError(f"--run {args.run}: {args.name}-llm_train_{args.size} is expected of --name and --size")
    if args.size == 0 and args.adapter:
        raise UserError("--adapter: size 0 is the base model without adapter; leave it out, or give the right --size")
    if args.size and not args.adapter:
        raise UserError(f"--adapter is missing: size {args.size} is a trained one (only size 0 has none)")
    return args


def _number_or_auto(text: str) -> int | str:
    return text if text == "auto" else int(text)


if __name__ == "__main__":
    run(main)
