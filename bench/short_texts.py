"""Make a set of short texts with 77 labels, of the shape of a bank's customers' questions.

    .venv/bin/python bench/short_texts.py FOLDER [--train 4000] [--test 3080]

Writes FOLDER/train.csv and FOLDER/test.csv with the columns text and label. All labels stand in each prompt, some 480
tokens with SmolLM2's tokenizer. One text in ten has another's words in it, so that nothing is always right.
"""

from __future__ import annotations

import argparse
import csv
import random
from pathlib import Path

THINGS = {
    "card": ["card", "debit card", "plastic"],
    "transfer": ["transfer", "bank transfer", "money I sent"],
    "payment": ["payment", "purchase", "what I paid in a shop"],
    "cash": ["cash", "withdrawal", "money from the ATM"],
    "top-up": ["top-up", "money I added", "deposit"],
    "refund": ["refund", "money back", "return of my purchase"],
    "exchange": ["exchange", "currency conversion", "euros I changed"],
    "direct debit": ["direct debit", "standing order", "monthly bill"],
    "virtual card": ["virtual card", "card in the app", "online-only card"],
    "identity": ["identity check", "verification", "photo of my passport"],
    "pin": ["PIN", "secret code", "four digits"],
}
TROUBLES = {
    "declined": ["was declined", "got rejected", "did not go through"],
    "pending": ["is still pending", "has not arrived", "takes so long"],
    "amount": ["shows a wrong amount", "is not what I expected", "differs from what I entered"],
    "unknown": ["is one I do not recognise", "was not made by me", "looks like fraud"],
    "fee": ["came with an extra fee", "cost more than it should", "had a charge on it"],
    "limit": ["has a limit I want to know", "can be how large at most", "reached some maximum"],
    "change": ["is something I want to change", "should be another one", "needs an update"],
}
ASKED = ["Hello, my {} {}.", "Why is it that the {} {}?", "{} {}, please help!", "Can you tell me why my {} {}?",
         "I think the {} {}, what now?", "Yesterday the {} {}."]  # fmt: skip


def main() -> None:
    """Write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--train", type=int, default=4000)
    parser.add_argument("--test", type=int, default=3080)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    for name, count, seed in (("train", args.train, 0), ("test", args.test, 1)):
        with (args.folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["text", "label"])
            writer.writerows(texts(count, random.Random(seed)))


def texts(count: int, dice: random.Random) -> list[tuple[str, str]]:
    """Return (text, label) pairs, each label as often as the others, shuffled; no text is there twice."""
    labels = [(thing, trouble) for thing in THINGS for trouble in TROUBLES]
    found: dict[str, str] = {}
    while len(found) < count:
        thing, trouble = labels[len(found) % len(labels)]
        said = dice.choice(list(THINGS.values()) if dice.random() < 0.1 else [THINGS[thing]])
        words = dice.choice(ASKED).format(dice.choice(said), dice.choice(TROUBLES[trouble]))
        amount = f"{dice.randint(2, 9999)}.{dice.randint(0, 99):02} {dice.choice(['EUR', 'USD', 'GBP'])}"
        found[f"{words} It is about {amount}."] = f"{thing} {trouble}"
    rows = list(found.items())
    dice.shuffle(rows)
    return rows


if __name__ == "__main__":
    main()
