"""What is typed in bin/chat.sh, on a terminal and through a pipe: what is one message. The rest is in talk.bats."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PY = Path(__file__).resolve().parents[1] / "py"
# With the output of a program of ours (program.run), which is not sys.stdout as Python makes it.
PROGRAM = """import json, sys
from fewshot_sft.program import run
from chat import messages
def main(argv):
    for message in messages():
        print("heard", json.dumps(message), flush=True)
    return 0
run(main)"""


@contextmanager
def talk(terminal: bool) -> Iterator[tuple[subprocess.Popen[bytes], int, Screen]]:
    """Start it; yield it and what writes to its keyboard and reads its screen."""
    keyboard, stdin = pty.openpty() if terminal else reversed(os.pipe())
    screen, stdout = (keyboard, stdin) if terminal else os.pipe()
    environment = os.environ | {"TERM": "xterm", "PYTHONPATH": str(PY)}
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdin=stdin, stdout=stdout, env=environment) as process:
        os.close(stdin)
        if not terminal:
            os.close(stdout)
        try:
            yield process, keyboard, Screen(screen)
        finally:
            process.kill()


class Screen:
    """What the program shows, read up to where it was looked at."""

    def __init__(self, source: int) -> None:
        self._source = source
        self._seen = b""

    def until(self, pattern: bytes) -> bytes:
        """Read on until it shows the pattern; return its group, or all of it."""
        while (found := re.search(pattern, self._seen)) is None:
            self._seen += os.read(self._source, 1000)
        self._seen = self._seen[found.end() :]
        return found[found.re.groups]

    def heard(self, *, last: bool = False) -> str:
        """Return the next message, when its line is complete; but for the last one when the program waits for more.

        What is typed before is for a terminal that is not set up yet.
        """
        message = json.loads(self.until(rb"heard (.*)\n"))
        if not last:
            self.until(b"> ")
        return message


PASTED = "A valve.\n\nWith a spring: " + "long " * 1000 + "."


@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "pipe"])
def test_what_is_pasted_is_one_message_and_the_next_line_another(terminal):
    pasted = f"\033[200~{PASTED}\033[201~\r" if terminal else f"{PASTED}\n"
    with talk(terminal) as (process, keyboard, screen):
        screen.until(b"> ")
        # A terminal's buffers are small, and it echoes.
        threading.Thread(target=os.write, args=(keyboard, pasted.encode())).start()
        assert screen.heard() == PASTED
        os.write(keyboard, "再来一条\n".encode())
        assert screen.heard() == "再来一条"
        if terminal:
            os.write(keyboard, b"\033[A\n\004")  # the key ↑, then Ctrl-D
            assert screen.heard(last=True) == "再来一条"
        else:
            os.write(keyboard, b"without a line end")
            os.close(keyboard)
            assert screen.heard(last=True) == "without a line end"
        assert process.wait(60) == 0


def test_lines_that_arrive_at_once_are_one_message_where_the_terminal_does_not_mark_a_paste():
    with talk(True) as (_, keyboard, screen):
        screen.until(b"> ")
        os.write(keyboard, b"one\rtwo\r")
        assert screen.heard(last=True) == "one\ntwo"
