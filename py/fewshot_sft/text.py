"""How an answer is compared with a label: alike but for what a tokenizer changes on the way to the model and back."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

COMPARISON = "Unicode NFC; one space for any white space; spaces as the tokenizer's clean-up leaves them"
# As transformers' clean_up_tokenization has them, in its order.
_CLEANED = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're")


def clean_up(text: str) -> str:
    """Return the text as a tokenizer with ``clean_up_tokenization_spaces`` leaves it: ``Oui !`` becomes ``Oui!``."""
    for piece in _CLEANED:
        text = text.replace(piece, piece.strip())
    return text


@lru_cache(10_000)  # a few labels, thousands of times
def comparable(text: str) -> str:
    """Return the form in which answers and labels are compared, by all that compare them.

    A label and what the model said for it are alike in it whether or not the tokenizer composes characters and the
    server cleans up spaces. Anything else counts, character for character (the original's rule): case, quotes, width.
    """
    return clean_up(" ".join(unicodedata.normalize("NFC", text).split()))
