"""Synthetic patent-like abstracts for the embedded ``tiny`` profile: generated, never real patents.

The task is harder than spotting a keyword: a word of a text is drawn from its subtopic, its section, a confusing
neighbour section or the vocabulary that all sections share, some words belong to several sections, and a few labels
are wrong, as human labels are. Everything follows from a seed: the same call gives the same texts on any machine.
"""

from __future__ import annotations

import random

from .tiny_vocabulary import ADJECTIVES, NEIGHBOURS, OPENINGS, SECTIONS, SENTENCES, SHARED_NOUNS, VERBS

LABELS: list[str] = list(SECTIONS)
"""The original's nine categories, in its order."""

NOUNS, SHARED_ADJECTIVES, SHARED_VERBS = SHARED_NOUNS.split(), ADJECTIVES.split(), VERBS.split()
SUBTOPICS: list[list[list[str]]] = [[words.split() for words in topics] for topics in SECTIONS.values()]

# Where a slot's word comes from: subtopic, section, confusing section, shared nouns.
SOURCE_WEIGHTS = (0.62, 0.08, 0.15, 0.15)
NEIGHBOUR_SHARE = 0.75
LABEL_NOISE = 0.03
KEY_TERMS = 8
RESTATE = "Say in one sentence what the text is about."


def _text(rng: random.Random, section: int, subtopic: int) -> str:
    """Return one abstract of 3 to 5 sentences."""
    own = SUBTOPICS[section][subtopic]
    if rng.random() < NEIGHBOUR_SHARE:
        confuser = rng.choice(NEIGHBOURS[section])
    else:
        confuser = rng.choice([index for index in range(len(LABELS)) if index != section])
    confusing = rng.choice(SUBTOPICS[confuser])

    def word() -> str:
        source = rng.choices(("own", "section", "confuser", "shared"), SOURCE_WEIGHTS)[0]
        if source == "own":
            return rng.choice(own)
        if source == "section":
            return rng.choice(rng.choice(SUBTOPICS[section]))
        return rng.choice(confusing if source == "confuser" else NOUNS)

    patterns = [rng.choice(OPENINGS), *rng.sample(SENTENCES, rng.randint(2, 4))]
    sentences = [
        pattern.format(
            word(), word(), word(), n=rng.choice(NOUNS), a=rng.choice(SHARED_ADJECTIVES), v=rng.choice(SHARED_VERBS)
        )
        for pattern in patterns
    ]
    return " ".join(sentences).replace("plurality-of", "plurality of")


def labelled(split: str, count: int, seed: int) -> list[tuple[str, str]]:
    """Return ``count`` pairs (text, label) of one split."""
    return [(text, label) for text, label, _ in with_truth(split, count, seed)]


def with_truth(split: str, count: int, seed: int) -> list[tuple[str, str, str]]:
    """Return ``count`` triples (text, label, right label) of one split.

    The splits ``train``, ``valid`` and ``test`` are separate random streams, and a longer call starts with the
    rows of a shorter one. ``LABEL_NOISE`` of the labels are redrawn at random.
    """
    rng = random.Random(f"few-shot-sft tiny {split} {seed}")
    rows = []
    for _ in range(count):
        section = rng.randrange(len(LABELS))
        text = _text(rng, section, rng.randrange(len(SUBTOPICS[section])))
        label = rng.choice(LABELS) if rng.random() < LABEL_NOISE else LABELS[section]
        rows.append((text, label, LABELS[section]))
    return rows


def restated(split: str, count: int, seed: int) -> list[tuple[str, str]]:
    """Return ``count`` pairs (text, its key terms): the words of the text that belong to its subtopic, as they come."""
    rng = random.Random(f"few-shot-sft tiny restated {split} {seed}")
    rows: list[tuple[str, str]] = []
    while len(rows) < count:
        section = rng.randrange(len(LABELS))
        subtopic = rng.randrange(len(SUBTOPICS[section]))
        text = _text(rng, section, subtopic)
        if terms := dict.fromkeys(word for word in text.split() if word in SUBTOPICS[section][subtopic]):
            rows.append((text, f"the invention relates to {' , '.join(terms)} ."))
    return rows


def unlabelled(count: int, seed: int) -> list[tuple[str, str]]:
    """Return ``count`` pairs (text, key terms) for pretraining: which section a text belongs to is not told.

    The key terms come from the text's subtopic, whether the text has them or not.
    """
    rng = random.Random(f"few-shot-sft tiny pretraining {seed}")
    rows = []
    for _ in range(count):
        section = rng.randrange(len(LABELS))
        subtopic = rng.randrange(len(SUBTOPICS[section]))
        terms = rng.sample(SUBTOPICS[section][subtopic], KEY_TERMS)
        rows.append((_text(rng, section, subtopic), " ".join(terms)))
    return rows
