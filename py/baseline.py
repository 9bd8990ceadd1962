"""Learn and answer by a method that needs no server, for all sizes and seeds: what LoRA is compared with.

    python py/baseline.py tfidf [--dry-run]

Each run's record objs/<run>.json is like that of an evaluated adapter, and objs/<run>.scores.json holds the probability
of each label. A run that is there already, of the same data, method and versions, is skipped. A method that cannot run
here says why, and is left out.

Exit status: 0 done (or done before), or left out since it cannot run here, 2 something for the user to mend,
3 (--dry-run) there is something to do.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings

from fewshot_sft import dry_run, hub, runs
from fewshot_sft.evaluation import questions, without_server
from fewshot_sft.methods import Unavailable
from fewshot_sft.outcomes import outcomes
from fewshot_sft.program import DONE, TO_DO, end_on_signals, run
from fewshot_sft.settings import Settings


def main(argv: list[str]) -> int:
    """Make the method's runs, or say what would be done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", choices=tuple(without_server.MODULES))
    parser.add_argument("--dry-run", action="store_true", help="write nothing: print what would be done and why")
    args = parser.parse_args(argv)
    settings = Settings.read()
    wanted = runs.chosen(runs.baselines(settings, args.method))
    if not wanted:
        return DONE
    if args.dry_run:
        needed = ["base model"] * (args.method == "llm-embedding") + [str(each.data_file) for each in wanted]
        if (waits := dry_run.first_planned(*needed)) is not None:
            print(f"{args.method}: to do ({waits if waits == 'base model' else 'data'})")
            return TO_DO
    end_on_signals()
    os.environ |= hub.QUIET
    warnings.simplefilter("ignore")
    absent = wanted
    try:
        if settings.task == runs.GENERATION:
            raise Unavailable(runs.NO_TEXT)
        model = without_server.model_of(args.method, settings, fetch=not args.dry_run)
        data = questions.load(settings.data_dir, settings["SPLIT"], settings.eval_limit)
        found = [without_server.look(each, model, data) for each in wanted]
        todo = []
        for each in found:
            why = each.why_made()
            if why is not None:
                todo.append(each)
            elif not args.dry_run:
                print(f"{each.run.title}: already evaluated ({each.files.record})")
                with outcomes.of_run("evaluation", each.run.name) as ended:
                    ended("skipped")
            if args.dry_run:
                state = f"done ({each.files.record})" if why is None else "to do" + f", {why}" * bool(why)
                print(f"evaluation of {each.run.title}: {state}")
        if args.dry_run:
            return TO_DO if todo else DONE
        absent = [each.run for each in todo]
        if todo:
            without_server.make(args.method, todo, settings)
    except Unavailable as error:
        for each_run in [] if args.dry_run else absent:
            with outcomes.of_run("evaluation", each_run.name) as ended:
                outcomes.note_reason(str(error))
                ended("left out")
        print(f"{args.method}: left out: {error}", file=sys.stderr)
    return DONE


if __name__ == "__main__":
    run(main)
