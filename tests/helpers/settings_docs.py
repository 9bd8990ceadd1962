"""Print docs/settings.md, made from bin/settings.table; with --write, write it (`make docs`)."""

from __future__ import annotations

import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
PAGE = PROJECT / "docs/settings.md"
HEAD = """# Settings

<!-- Made by `make docs` from bin/settings.table; edit that. -->

Give a setting in `settings.sh`, as an environment variable, or as a flag: the flag of `LEARNING_RATE` is
`--learning-rate`. A flag wins over the environment, the environment over `settings.sh`, `settings.sh` over the profile
(`bin/profiles/`), and the profile over the default below. A sweep reads them once, when it starts: an edit of
`settings.sh` while it runs is for the next one.

`settings.sh` holds settings only: `NAME=value` as in bash, lists such as `SIZES=(100 500)`, `$HOME`, `~` and comments.
Anything else stops the sweep before it starts, with the file and line. The environment wins, so a variable of the same
name that you exported for another program (`DEVICE`, `MODEL`) counts too; `--dry-run` shows the values that are used.

| setting | default | meaning |
| --- | --- | --- |
"""


def rows() -> list[tuple[str, str, str, str]]:
    """Return (name, type, default, meaning) of each setting, in the order of the table."""
    lines = (PROJECT / "bin/settings.table").read_text(encoding="utf-8").splitlines()
    found = [tuple(line.split("|", 3)) for line in lines if not line.startswith("#")]
    return [(name, kind, default, meaning) for name, kind, default, meaning in found]


def page() -> str:
    """Return the page."""
    shown = [f"| `{name}` | {f'`{default}`' * bool(default)} | {meaning} |" for name, _, default, meaning in rows()]
    return HEAD + "\n".join(shown) + "\n"


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        PAGE.write_text(page(), encoding="utf-8")
    else:
        print(page(), end="")
