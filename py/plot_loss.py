"""Draw the losses of trainings: training and evaluation loss by step, the best evaluation marked.

    python py/plot_loss.py --json_file saves/tiny/lora/tiny-llm_train_100/trainer_state.json
    python py/plot_loss.py --json_file saves/*/lora/*/trainer_state.json --out losses.png

Takes the trainer_state.json of any training with transformers, of a checkpoint too. Writes plot_loss.png and
plot_loss.svg beside the first file, or --out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from fewshot_sft.errors import UserError
from fewshot_sft.program import DONE, run
from fewshot_sft.training import trainer_state


def main(argv: list[str]) -> int:
    """Read all files, then draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--json_file", nargs="+", action="extend", required=True, type=Path, help="trainer_state.json, one or many")
    add("--out", type=Path, help="the picture, .png or .svg: both are written")
    args = parser.parse_args(argv)
    if args.out and args.out.suffix not in (".png", ".svg", ""):
        raise UserError(f"{args.out}: a PNG and an SVG are written; --out {args.out.with_suffix('.png')}")
    paths = list(dict.fromkeys(args.json_file))
    histories = dict(zip(labels(paths), map(trainer_state.read, paths), strict=True))

    from fewshot_sft.results.plots import history, style  # a second of imports: bad files are told before

    stem = (args.out or paths[0].with_name("plot_loss")).with_suffix("")
    with style.drawing(histories) as complaint:
        if complaint:
            print(f"warning: {complaint}")
        written = style.save(history.draw(histories), stem, numbers=" and ".join(map(str, paths)))
    for name, found in histories.items():
        if found.best:
            step, loss = found.best
            print(f"{name}: best evaluation loss {loss:.4f} at step {step}")
    print(f"written: {', '.join(map(str, written))}")
    return DONE


def labels(paths: list[Path]) -> list[str]:
    """Return a name for each file: its folder, with as many of those above as tell it from the others."""
    folders = [path.absolute().parent.parts for path in paths]
    depth = 1 + any(parts[-1].startswith("checkpoint-") for parts in folders)
    while len({parts[-depth:] for parts in folders}) < len(set(folders)):
        depth += 1
    names = ["/".join(parts[-depth:]).replace("//", "/") for parts in folders]
    return [name if names.count(name) == 1 else f"{name}/{path.name}" for name, path in zip(names, paths, strict=True)]


if __name__ == "__main__":
    run(main)
