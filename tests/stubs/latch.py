"""Waiting for the test: say where one is, go on when the test says so."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

FOLDER = Path(os.environ["STUB"])


def reached(place: str) -> None:
    """Tell the test, which reads the FIFO ``at``, that ``place`` is reached."""
    with (FOLDER / "at").open("wb", buffering=0) as stream:
        stream.write(f"{place}\n".encode())


def wait(place: str) -> None:
    """Tell the test that ``place`` is reached and wait for a line in the FIFO ``go``."""
    reached(place)
    # Opened for both, so that it stays open when the test opens and closes its end.
    handle = os.open(FOLDER / "go", os.O_RDWR)
    while os.read(handle, 1) != b"\n":
        pass
    os.close(handle)


def forever() -> None:
    """Wait for a signal."""
    while True:
        signal.pause()


def deaf_child() -> None:
    """Leave a child behind that does not end on TERM."""
    child = subprocess.Popen(["bash", "-c", "trap '' TERM; echo deaf; read <>\"$STUB/go\""], stdout=subprocess.PIPE)
    child.stdout.readline()  # from here on it is
