"""Find each label's probability where the server does not tell it, after BACKEND=huggingface has answered.

    python py/label_scores.py

For the evaluated runs of lora, zero-shot and k-shot: the base model and the adapters in one process, the prompts as
they were asked. Writes objs/<run>.scores.json; what is there is skipped. Only for base models below a billion
parameters. What fails here fails nothing else: the file then says why there are no scores.

Exit status: 0, 2 something for the user to mend.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time

from fewshot_sft import hub, runs
from fewshot_sft.evaluation import label_probabilities, questions
from fewshot_sft.evaluation.files import identity_of
from fewshot_sft.identity import read_record
from fewshot_sft.planning.facts import is_small
from fewshot_sft.program import end_on_signals, run
from fewshot_sft.runs import Run
from fewshot_sft.settings import Settings

# What was served is here.
QUIET = hub.QUIET | {"LLAMAFACTORY_VERBOSITY": "ERROR", "HF_HUB_OFFLINE": "1"}


def main(argv: list[str]) -> int:
    """Score the labels of the runs that have none."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args(argv)
    settings = Settings.read()
    if (
        settings.task == runs.GENERATION
        or settings["SERVER"] == "vllm"
        or settings["BACKEND"] != "huggingface"
        or not is_small(settings)
    ):
        return 0
    todo = {each: identity for each in runs.evaluations(settings) if (identity := to_do(each)) is not None}
    if not todo:
        return 0
    end_on_signals()
    os.environ |= QUIET
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # no kernel of its own for 4 bits on a CPU
    if settings.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    began = time.monotonic()
    try:
        from fewshot_sft.evaluation import local_scores

        data = questions.load(settings.data_dir, settings["SPLIT"], settings.eval_limit)
        for commit in dict.fromkeys(map(served_commit, todo)):
            chosen = [each for each in todo if served_commit(each) == commit]
            for each, masses in local_scores.masses(chosen, data, settings.but(MODEL_COMMIT=commit)):
                label_probabilities.write_masses(each, todo.pop(each), data.labels, masses)
    except Exception as error:  # of libraries, and of what an adapter may be: the evaluation stays
        reason = f"its labels could not be scored: {(str(error).splitlines() or [type(error).__name__])[0]}"
        print(f"warning: label scores: {reason}", file=sys.stderr)
        for each, identity in todo.items():
            label_probabilities.write_absent(each, identity, reason)
        return 0
    print(f"label scores: done in {time.monotonic() - began:.1f} s")
    return 0


def served_commit(each: Run) -> str:
    """Return the commit of the base model that was served; "" of a folder."""
    return read_record(each.result(".json")).get("base_model_revision") or ""


def to_do(each: Run) -> str | None:
    """Return the identity of a run's evaluation record when it lacks scores, else None."""
    identity = identity_of(each.result(".json"))
    return identity if identity != identity_of(each.result(".scores.json")) else None


if __name__ == "__main__":
    run(main)
