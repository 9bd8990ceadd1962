"""How often the law of the curve is right: coverage and width of its intervals on real learning curves.

    python bench/coverage.py lcdb.parquet --sizes 64 128 256 512 --seeds 3 [--text] [--half report]

FILE has the columns openmlid, learner, size_train, size_test, outer_seed, inner_seed, score_test (LCDB 1.0, accuracy).
From the scores at --sizes the law predicts those at 2, 4 and 8 times the largest; the truth is the mean over all seeds
that the file has. The priors' numbers were chosen on one half of the data sets (``--half calibrate``); ``report`` is
the other.
Every data set has the same weight, and the uncertainty of each number comes from resampling data sets. Curves that are
refused, because no member of the family fits or too few draws count, are counted in the first table and left out of the
second.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "py"))

from fewshot_sft.answer import law
from fewshot_sft.answer.decision import LEAST_DRAWS, REFUSED_BELOW

# OpenML's numbers of the text data sets in LCDB.
TEXT = {389, 390, 391, 392, 395, 396, 398, 399, 401, 1457, 273}
TIMES = (2, 4, 8)
SEEDS_OF_TRUTH = 20
# LCDB has no answers to the items; so much is what answers of neighbouring sizes have in common elsewhere.
COMMON = 0.6
COLUMNS = ("error", "error_last", "covered_95", "width_95", "covered_80", "width_80")


def curves(path: Path, sizes: list[int], only_text: bool) -> list[dict]:
    """Return the curves that have all of ``sizes`` and a size to be predicted, one for each outer seed."""
    data = pd.read_parquet(path)
    if only_text:
        data = data[data.openmlid.isin(TEXT)]
    wanted = sizes + [sizes[-1] * times for times in TIMES]
    data = data[data.size_train.isin(wanted)]
    means = data.groupby(["openmlid", "learner", "size_train"]).score_test.agg(["mean", "count"]).reset_index()
    means = means[means["count"] >= SEEDS_OF_TRUTH]
    truth = {
        key: dict(zip(each.size_train, each["mean"], strict=True))
        for key, each in means.groupby(["openmlid", "learner"])
    }
    found = []
    for (number, learner, _), each in data[data.outer_seed < 5].groupby(["openmlid", "learner", "outer_seed"]):
        table = each.pivot_table(index="size_train", columns="inner_seed", values="score_test")
        table = table.reindex(sizes).dropna(axis=1)
        known = truth.get((number, learner), {})
        asked = [sizes[-1] * times for times in TIMES if sizes[-1] * times in known]
        if table.shape[1] >= 5 and asked:
            items = int(each.size_test.iloc[0])
            found.append({"data": number, "scores": table.values, "items": items, "asked": asked, "truth": known})
    return found


def predict(curve: dict, sizes: list[int], seeds: int, rng: np.random.Generator) -> list[dict]:
    """Return a row for each size that is asked."""
    scores = curve["scores"][:, rng.choice(curve["scores"].shape[1], seeds, replace=False)]
    share = np.clip(scores.mean(1), 1 / (curve["items"] + 2), 1 - 1 / (curve["items"] + 2))
    deviation = np.sqrt(share * (1 - share) / curve["items"])
    covariance = COMMON * np.outer(deviation, deviation) + (1 - COMMON) * np.diag(deviation**2)
    fitted = law.fit(sizes, scores, covariance, seed=int(rng.integers(2**31)))
    drawn = fitted.at(curve["asked"])
    rows = []
    for column, size in enumerate(curve["asked"]):
        low, low80, middle, high80, high = np.quantile(drawn[:, column], [0.025, 0.1, 0.5, 0.9, 0.975])
        true = curve["truth"][size]
        rows.append(
            {
                "data": curve["data"],
                "times": size // sizes[-1],
                "error": abs(middle - true),
                "error_last": abs(scores[-1].mean() - true),
                "covered_95": float(low <= true <= high),
                "width_95": high - low,
                "covered_80": float(low80 <= true <= high80),
                "width_80": high80 - low80,
                "refused": fitted.p < REFUSED_BELOW or fitted.effective < LEAST_DRAWS,
            }
        )
    return rows


def table(rows: pd.DataFrame, rng: np.random.Generator) -> str:
    """Return the means over data sets, with the standard deviation over resampled data sets."""
    lines = [f"{'':>4}{'data sets':>10}{'curves':>8}" + "".join(f"{name:>19}" for name in COLUMNS)]
    for times, each in rows.groupby("times"):
        of_sets = each.groupby("data")[list(COLUMNS)].mean()
        drawn = rng.integers(0, len(of_sets), size=(1000, len(of_sets)))
        spread = of_sets.values[drawn].mean(1).std(0)
        cells = "".join(f"{mean:>11.3f} ± {sd:.3f}" for mean, sd in zip(of_sets.mean(), spread, strict=True))
        lines.append(f"{times:>3}x{len(of_sets):>10}{len(each):>8}{cells}")
    return "\n".join(lines)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--sizes", nargs="+", type=int, default=[64, 128, 256, 512])
    parser.add_argument("--seeds", type=int, default=3, help="that are seen, 1 to 5 (default: 3)")
    parser.add_argument("--text", action="store_true", help="data sets of text only")
    parser.add_argument("--half", choices=("all", "calibrate", "report"), default="all", help="of the data sets")
    parser.add_argument("--each", type=int, default=10, help="curves of a data set at most (default: 10)")
    args = parser.parse_args()
    rng = np.random.default_rng(7)
    found = curves(args.file, args.sizes, args.text)
    every = sorted({curve["data"] for curve in found})
    half = {"all": every, "calibrate": every[::2], "report": every[1::2]}[args.half]
    rows = []
    for number in half:
        own = [curve for curve in found if curve["data"] == number]
        for index in rng.permutation(len(own))[: args.each]:
            rows += predict(own[index], args.sizes, args.seeds, rng)
    result = pd.DataFrame(rows)
    print(f"sizes {args.sizes}, {args.seeds} seed(s), {args.half} data sets, mean over data sets ± its uncertainty")
    print(table(result, rng))
    kept = result[~result.refused]
    print(f"refused: {result.groupby('data').refused.mean().mean():.1%} of the curves; without them:")
    print(table(kept, rng))


if __name__ == "__main__":
    main()
