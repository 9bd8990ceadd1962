"""The synthetic data of the tiny profile: the same on every machine, and never a document with its section."""

from __future__ import annotations

import hashlib
import json

import build_base
from fewshot_sft.data.tiny_corpus import LABEL_NOISE, LABELS, SUBTOPICS, labelled, unlabelled


def test_the_texts_are_the_same_everywhere():
    text = json.dumps([labelled("train", 50, 42), unlabelled(50, 42)])
    assert (
        hashlib.sha256(text.encode()).hexdigest() == "7100c609a5544b2f05199cab049e800162614fc2a65274c243660d3c2f2997ff"
    )


def test_a_longer_call_starts_with_the_shorter_ones_rows():
    assert labelled("train", 60, 42)[:20] == labelled("train", 20, 42)


def test_the_splits_share_no_text():
    texts = [{text for text, _ in labelled(split, 500, 42)} for split in ("train", "valid", "test")]
    assert all(len(part) == 500 for part in texts)
    assert not texts[0] & texts[1] | texts[0] & texts[2] | texts[1] & texts[2]


def test_one_word_does_not_give_the_section_away():
    """A text holds words of other sections, too, and a few labels are wrong."""
    own = [{word for topic in topics for word in topic} for topics in SUBTOPICS]
    foreign = 0
    for text, label in labelled("train", 300, 42):
        words = set(text.split())
        others = [
            index
            for index in range(len(LABELS))
            if LABELS[index] != label and words & (own[index] - own[LABELS.index(label)])
        ]
        foreign += bool(others)
    assert foreign > 200
    assert 0 < LABEL_NOISE < 0.1


def test_pretraining_pairs_no_document_with_a_section():
    for row in build_base.corpus(400, 42):
        if row["output"] in LABELS:
            assert row["input"] == "Name one of the categories."
        else:
            assert not any(label in row["output"] for label in LABELS)
