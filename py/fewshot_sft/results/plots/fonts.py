"""Finds fonts that can write the labels, whatever their script."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

FONT = "DejaVu Sans"  # comes with matplotlib, so that it is there everywhere
# Asked first when DejaVu has not all letters; then whatever font the machine has.
CJK_FONTS = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei"),
    *("PingFang SC", "Hiragino Sans GB", "Microsoft YaHei", "SimHei", "Droid Sans Fallback"),
)


def families_for(texts: Iterable[str]) -> tuple[list[str], str | None]:
    """Return font families, the first ones first, that together have all letters of ``texts``, and a complaint."""
    missing = {char for text in texts for char in text if char.isprintable()} - _letters(font_manager.findfont(FONT))
    families = [FONT]
    for name, path in _other_fonts() if missing else ():
        has = missing & _letters(path)
        if has:
            families.append(name)
            missing -= has
        if not missing:
            break
    if not missing:
        return families, None
    sample = "".join(sorted(missing)[:8])
    return families, (
        f"no installed font can write {sample!r}: the PNG pictures show boxes instead (the SVG ones are right wherever "
        "they are opened with such a font); for Chinese, Japanese and Korean install one, on Debian and Ubuntu: "
        "apt-get install fonts-noto-cjk"
    )


def _other_fonts() -> Iterator[tuple[str, str]]:
    """Yield (family, file) of the upright regular fonts, the well-known ones first, then by name."""
    manager = font_manager.fontManager
    # matplotlib caches its list, and a font that was installed since is not in it.
    known = {str(entry.fname) for entry in manager.ttflist}
    for path in sorted(set(font_manager.findSystemFonts()) - known):
        with contextlib.suppress(Exception):  # a damaged or exotic font file is of no use here, nor a reason to stop
            manager.addfont(path)
    upright = {
        entry.name: str(entry.fname)
        for entry in sorted(manager.ttflist, key=lambda entry: (entry.name, str(entry.fname)), reverse=True)
        if entry.style == "normal" and entry.weight in (400, "normal", "regular")
    }
    for name in (*CJK_FONTS, *sorted(upright)):
        # Last Resort has a placeholder for every letter, which is what "missing" looks like.
        if name in upright and not name.startswith("Last Resort"):
            yield name, upright[name]


def _letters(path: str) -> set[str]:
    try:
        return {chr(code) for code in FT2Font(path).get_charmap()}
    except (OSError, RuntimeError):
        return set()
