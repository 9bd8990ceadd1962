"""Show a sweep's results: the table, results.csv, results.json, the pictures, the report, from its evaluation records.

    FEWSHOT_SETTINGS=logs/tiny.settings.json python py/see_results.py
    FEWSHOT_SETTINGS=logs/tiny.settings.json python py/see_results.py --run glm4-9b-chat --out objs/comparison

Prints the table; writes answer.json, calibration.json, results.csv, results.json, the pictures (PNG and SVG),
report.html and report.md to objs/<sweep>, or to --out. Several sweeps are compared as several models. Only records are
read: objs/<run>.json with its answers and scores, in each adapter's folder training.json and trainer_log.jsonl; for the
report also the data.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fewshot_sft.answer import calibration
from fewshot_sft.answer.answer_file import make as make_answer
from fewshot_sft.errors import UserError, describe
from fewshot_sft.jsonio import write_bytes, write_json
from fewshot_sft.processes import be_a_worker, usable_cpus
from fewshot_sft.program import run
from fewshot_sft.results.record import Result
from fewshot_sft.results.sweep import Sweep, read_sweep, together, warnings_of
from fewshot_sft.results.table import row_of, to_csv, to_text
from fewshot_sft.runs import LORA, SCHEMA, Run
from fewshot_sft.settings import Settings

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def main(argv: list[str]) -> int:
    """Read the records, print the table, write the files; everything is read before anything is written."""
    args = parse_args(argv)
    settings = Settings.read()
    names = list(dict.fromkeys([settings.sweep_name, *args.run]))
    sweeps = [read_sweep(settings, name) for name in names]
    if len({bool(sweep.evaluations[0].labels) for sweep in sweeps}) > 1:
        raise UserError("some of these sweeps are of labels and some of free text (TASK); their scores do not compare")
    out = args.out or settings.objs_dir / folder_name(names)
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file, a folder was expected; move it away")
    warnings = warnings_of(sweeps)
    rows = [row_of(one) for sweep in sweeps for one in sweep.evaluations]

    whole = sweeps[0] if len(sweeps) == 1 else together(sweeps, out.name)
    answer = make_answer(whole, settings)
    write_json(out / "answer.json", answer)
    write_json(out / "calibration.json", calibration.make(whole))
    said = answer["sentence"] if "sentence" in answer else f"no answer: {answer['absent']}"
    print(f"{whole.name}: {said}\n")
    print(to_text(sweeps, answer, bold=sys.stdout.isatty() and "NO_COLOR" not in os.environ))
    sys.stdout.flush()
    write_bytes(out / "results.csv", to_csv(rows))
    pictures = [] if args.no_plots else list(draw_all(sweeps, answer, out, warnings))
    absent = [run.fields | {"reason": why} for sweep in sweeps for run, why in sweep.absent]
    summary = {
        "schema": SCHEMA,
        "kind": "results",
        "split": settings.split,
        "rows": rows,
        "absent": [{key: value for key, value in each.items() if value is not None} for each in absent],
        "warnings": warnings,
        "pictures": [path.name for path in pictures],
    }
    reports = write_report(whole, settings, answer, summary, out)
    write_json(out / "results.json", summary)
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    written = ["results.csv", "results.json", *([f"{len(pictures)} pictures"] if pictures else []), *reports]
    print(f"\nwritten to {out}: {', '.join(written)}")
    return 0


def parse_args(argv: list[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--run", nargs="+", action="extend", default=[], metavar="NAME", help="further sweeps, in the same pictures"
    )
    parser.add_argument("--out", type=Path, help="folder to write to (default: <OBJS_DIR>/<sweep>)")
    parser.add_argument("--no-plots", action="store_true", help="no pictures")
    return parser.parse_args(argv)


def write_report(
    sweep: Sweep, settings: Settings, answer: Mapping[str, Any], summary: Mapping[str, Any], out: Path
) -> Sequence[str]:
    """Write report.html and report.md and return their names; when that fails, why is appended to the warnings."""
    from fewshot_sft.report.writing import write  # not before the table is on the screen

    try:
        return write(sweep, settings, answer, summary, out)
    except Exception as error:  # all else is worth having without it
        if os.environ.get("DEBUG") == "1":
            raise
        summary["warnings"].append(f"the report could not be written: {describe(error)}")
        return ()


def folder_name(names: Sequence[str]) -> str:
    """Return the default output folder's name for these sweeps."""
    name = "+".join(names)
    if len(name.encode()) > 200:  # file systems allow 255
        raise UserError(f"the names of {len(names)} sweeps are too long for one folder's name; give one with --out")
    return name


def draw_all(sweeps: Sequence[Sweep], answer: Mapping[str, Any], out: Path, warnings: list[str]) -> Iterator[Path]:
    """Draw and write all pictures; what could not be drawn or written out in letters is appended to ``warnings``.

    Each picture is one process's work; as many are drawn at once as there are cores. Where there can be no such
    processes, for want of a /dev/shm that can be written, they are drawn one after the other.
    """
    # Matplotlib takes a second to import: the table is on the screen before.
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    from fewshot_sft.results.plots import confusion, curve, losses, radar, style

    texts = [text for sweep in sweeps for text in (sweep.name, *(la for one in sweep.evaluations for la in one.labels))]
    with style.drawing(texts) as complaint:
        if complaint:
            warnings.append(complaint)
        pictures: list[tuple[Callable[..., Figure], object, Path]] = [
            (partial(curve.draw, answer=answer if len(sweeps) == 1 else {}), sweeps, out / "learning_curve"),
            (radar.draw, sweeps, out / "radar"),
        ]
        pictures += [
            (confusion.draw, one, out / f"confusion_{one.run.name}") for sweep in sweeps for one in looked_into(sweep)
        ]
        if logged := read_all_losses(sweeps, warnings):
            pictures.append((losses.draw, logged, out / "training_loss"))
        # Forked within `drawing`: the processes have its settings.
        workers = min(len(pictures), usable_cpus())
        try:
            processes = ProcessPoolExecutor(workers, get_context("fork"), initializer=be_a_worker)
        except OSError:
            for picture in pictures:
                yield from style.draw_and_save(*picture)
            return
        with processes as pool:
            try:
                for paths in pool.map(style.draw_and_save, *zip(*pictures, strict=True)):
                    yield from paths
            except BrokenProcessPool:
                why = "a picture's process was killed, for want of memory perhaps; bin/results.sh draws them again"
                raise UserError(why) from None


def looked_into(sweep: Sweep) -> Iterator[Result]:
    """Yield the runs that get a confusion matrix: of the first seed, all sizes of LoRA, the largest of the others."""
    for method in dict.fromkeys(one.run.method for one in sweep.evaluations):
        own = [one for one in sweep.evaluations if one.run.method == method and one.labels]
        if not own:  # free text is not confused
            continue
        seeds = {one.run.seed for one in own}
        first = next((seed for seed in own[0].run.settings.seeds if seed in seeds), own[0].run.seed)
        of_first = [one for one in own if one.run.seed == first]
        yield from of_first if method == LORA else of_first[-1:]


def read_all_losses(sweeps: Sequence[Sweep], warnings: list[str]) -> dict[str, dict[Run, list[tuple[int, float]]]]:
    """Return the (step, loss) points by sweep and run; a log that cannot be read is appended to ``warnings``."""
    logged: dict[str, dict[Run, list[tuple[int, float]]]] = {}
    for sweep in sweeps:
        for one in sweep.evaluations:
            try:
                points = one.losses
            except UserError as error:
                warnings.append(f"{error}; its loss is left out of the picture")
                continue
            if points:
                logged.setdefault(sweep.name, {})[one.run] = points
    return logged


if __name__ == "__main__":
    run(main, prints_results=True)
