"""Writes report.html and report.md."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ..catalogue import words
from ..jsonio import write_bytes
from ..results.sweep import Sweep
from ..settings import Settings
from .blocks import Data
from .content import Report, make
from .source import Source

TEMPLATES = Path(__file__).parent / "templates"


def write(
    sweep: Sweep, settings: Settings, answer: Mapping[str, Any], results: Mapping[str, Any], out: Path
) -> tuple[str, ...]:
    """Write report.html and report.md to ``out``, in the language REPORT_LANG, and return their names.

    Args:
        sweep: with at least one evaluation.
        settings: the sweep's.
        answer, results: answer.json and results.json, whose ``warnings`` get what could not be shown.
        out: where they and the records beside them are.
    """
    w = words(settings["REPORT_LANG"], free_text=not sweep.evaluations[0].labels)
    report, complaints = make(Source(sweep, settings, answer, results, out, w))
    results["warnings"].extend(complaints)
    # Both are made before one is written: they have the same content.
    pages = {"report.html": to_html(report), "report.md": to_markdown(report)}
    for name, text in pages.items():
        write_bytes(out / name, text.encode("utf-8", "replace"))
    return tuple(pages)


def to_html(report: Report) -> str:
    """Return the page: one file without scripts, which needs no other."""
    return _environment(html=True).get_template("report.html.j2").render(report=report, w=report.w, head=report.head)


def to_markdown(report: Report) -> str:
    """Return the same content as Markdown."""
    text = _environment(html=False).get_template("report.md.j2").render(report=report, w=report.w, head=report.head)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


@cache
def _environment(*, html: bool) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=html,
        finalize=None if html else _escaped,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests["data"] = lambda value: isinstance(value, Data)
    environment.filters |= {"fenced": _fenced, "markup": Markup, "upfirst": _upfirst}
    return environment


def _upfirst(text: str) -> str:
    """Return a heading as it begins in this language; the metric is chrF everywhere."""
    return text if text.startswith("chrF") else text[:1].upper() + text[1:]


def _escaped(value: object) -> object:
    """Return a text with what Markdown and HTML would take for markup escaped, on one line."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    line = " ".join(value.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = re.sub(r"([\\`*_\[\]|#~$!])", r"\\\1", line)
    # Else what looks like an address becomes a link.
    return line.replace("://", "&#58;//").replace("www.", "www&#46;").replace("@", "&#64;")


def _fenced(text: str) -> Markup:
    """Return a block of code, whatever is in it."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return Markup(f"{fence}bash\n{text}\n{fence}")
