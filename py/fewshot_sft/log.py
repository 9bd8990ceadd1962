"""What a program says while it works, and the logs of the programs that it starts."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from .outcomes.outcomes import note_reason

TAIL = 15  # lines
TAIL_BYTES = 40_000  # a progress bar makes long lines


def say(message: str) -> None:
    """Say one line of progress, for people; stdout is left to results."""
    print(f"{time.strftime('%H:%M:%S')} {message}", file=sys.stderr, flush=True)


def say_why(message: str) -> None:
    """Say it, and keep it as the reason why the step fails."""
    say(message)
    note_reason(message)


def start_log(log: Path, command: Sequence[str]) -> None:
    """Begin a log with the command. An earlier one is kept as LOG.1, LOG.2, ...: a log is about one attempt."""
    if log.is_file() and log.stat().st_size:
        number = 1
        while (kept := log.with_name(f"{log.name}.{number}")).exists():
            number += 1
        log.rename(kept)
    log.parent.mkdir(parents=True, exist_ok=True)
    moment = datetime.now().astimezone().isoformat(timespec="seconds")
    log.write_text(f"{moment}: {shlex.join(command)}\n", encoding="utf-8")


def show_tail(log: Path) -> None:
    """Show the end of a log, as evidence beside an error."""
    print(f"--- last lines of {log}", *tail(log).splitlines()[-TAIL:], "---", sep="\n", file=sys.stderr, flush=True)


def tail(log: Path) -> str:
    """Return the end of a log, "" when it cannot be read."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - TAIL_BYTES))
            return stream.read().decode("utf-8", "replace")
    except OSError:
        return ""
