"""How many examples are longer than the cutoff, or than the server takes, by the model's own tokenizer and template."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from ..errors import UserError
from ..jsonio import read_json
from . import Finding
from .templates import Slots

ROWS = 2000  # tokenized in less than a second
ASKED = "texts asked"
T = TypeVar("T")
MARGIN = 64  # tokens of a template, beside the text


def check(rows_file: Path, tokenizer_file: Path | None, slots: Slots | None, cutoff: int) -> Finding:
    """Count the rows of an Alpaca file that the trainer would cut at ``cutoff`` tokens; cutting some is a warning.

    Cutting all of them is a problem: then no label is whole.
    """

    def count(rows: list[dict[str, Any]], tokenizer: Path, slots: Slots) -> tuple[int, list[int], int]:
        return len(rows), *token_lengths(rows[:ROWS], tokenizer, slots)

    found = _counted("lengths", count, rows_file, tokenizer_file, slots)
    if isinstance(found, Finding):
        return found
    there, lengths, common = found
    cut = sum(length > cutoff for length in lengths)
    facts = {
        "file": str(rows_file),
        "rows": len(lengths),
        "truncated": cut,
        "cutoff": cutoff,
        "longest": max(lengths),
        "common": common,
        "mean": round(sum(lengths) / len(lengths), 1),
    }
    of = f"{'the first ' if there > ROWS else ''}{len(lengths)} examples of {rows_file}"
    longest = f"the longest has {max(lengths)} tokens"
    if not cut:
        return Finding("lengths", "ok", f"none of {of} is longer than {cutoff} tokens, {longest}", facts=facts)
    return Finding(
        "lengths",
        "problem" if cut == len(lengths) else "warning",
        f"{cut} of {of} will be cut at {cutoff} tokens, {longest}",
        f"to keep them whole: CUTOFF_LEN={-(-max(lengths) // 64) * 64}",
        facts,
    )


class Takes(NamedTuple):
    """How many tokens the server takes, with those of the answer."""

    tokens: int
    at_most: float  # that ``flag`` may make them: the model's own limit
    flag: str


def check_asked(
    rows_file: Path,
    limit: int | None,
    tokenizer_file: Path | None,
    slots: Slots | None,
    max_tokens: int,
    takes: Takes,
    *,
    probes: bool = False,
) -> Finding:
    """Compare each of the first ``limit`` rows, with an answer of ``max_tokens``, with what the server takes. One that
    is longer is a problem: the server refuses it. With ``probes`` they are the probe set, asked without the instruction
    after the first one.
    """
    most = takes.tokens

    def count(rows: list[dict[str, Any]], tokenizer: Path, slots: Slots) -> tuple[int, dict[int, int]]:
        rows = [{**row, "instruction": ""} if probes and at else row for at, row in enumerate(rows[:limit])]
        # No token is shorter than a byte: most texts need not be counted.
        long = {index: row for index, row in enumerate(rows) if _bytes(row) + MARGIN + max_tokens > most}
        asked = [{**row, "output": ""} for row in long.values()]
        counts = token_lengths(asked, tokenizer, slots)[0] if asked else []
        return len(rows), {index: count + max_tokens for index, count in zip(long, counts, strict=True)}

    found = _counted(ASKED, count, rows_file, tokenizer_file, slots)
    if isinstance(found, Finding):
        return found
    there, counted = found
    tokens = {index: count for index, count in counted.items() if count > most}
    if not tokens:
        return Finding(ASKED, "ok", f"none of the {there} texts of {rows_file} is longer than the server takes")
    first, longest = next(iter(tokens)), max(tokens.values())
    answer = f"{max_tokens} tokens of an answer to the probe set" if probes else f"MAX_TOKENS={max_tokens}"
    instead = f"have them served: SERVER_ARGS='{takes.flag} {min(-(-longest // 64) * 64, takes.at_most)}'"
    if longest > takes.at_most:
        instead = f"take a MODEL that reads more than {takes.at_most} tokens"
    return Finding(
        ASKED,
        "problem",
        f"{len(tokens)} of the {there} texts of {rows_file} are longer than the {most} tokens that the server "
        f"takes, row {first + 1} is the first; the longest has {longest} with its prompt and {answer}",
        f"shorten them, or {instead}",
        {"file": str(rows_file), "rows": there, "too_long": len(tokens), "longest": longest, "most": most},
    )


def _bytes(row: dict[str, Any]) -> int:
    return len(row["instruction"].encode()) + len(row["input"].encode())


def token_lengths(rows: Sequence[dict[str, Any]], tokenizer_file: Path, slots: Slots) -> tuple[list[int], int]:
    """Return the number of tokens of each row as the trainer sees it: template, system, user, assistant; and the tokens
    of the pieces that all rows begin with.
    """
    from tokenizers import Tokenizer  # not AutoTokenizer: that is seconds of imports

    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    examples = [list(slots.pieces(row["instruction"], row["input"], row["output"])) for row in rows]
    # The instruction and the template's pieces repeat: each text once.
    texts = list(dict.fromkeys(piece for pieces in examples for piece in pieces if isinstance(piece, str)))
    found = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    length = {text: len(encoding.ids) for text, encoding in zip(texts, found, strict=True)}
    counts = [[length[piece] if isinstance(piece, str) else piece for piece in pieces] for pieces in examples]
    alike = itertools.takewhile(lambda pieces: len(set(pieces)) == 1, zip(*examples, strict=False))
    return [sum(each) for each in counts], sum(counts[0][: len(list(alike))])


def _counted(
    check: str,
    count: Callable[[list[dict[str, Any]], Path, Slots], T],
    rows_file: Path,
    tokenizer_file: Path | None,
    slots: Slots | None,
) -> T | Finding:
    """Return what ``count`` makes of the file's rows, or the finding that they could not be counted."""
    if tokenizer_file is None or slots is None:
        return unknown("the model has no tokenizer.json here" if slots else "the template is not known", check)
    try:
        return count(read_json(rows_file), tokenizer_file, slots)
    except (UserError, KeyError, TypeError) as error:
        return unknown(str(error) if isinstance(error, UserError) else f"{rows_file}: not Alpaca rows", check)
    except Exception as error:  # the tokenizers library raises bare Exception for a file that it cannot read
        return unknown(f"{tokenizer_file}: {error}", check)


def unknown(why: str, check: str) -> Finding:
    """Return the finding that lengths could not be counted."""
    return Finding(check, "ok", f"not counted before the training: {why}")
