"""Whose a port of this machine is: what listens on it says so, whatever it answers.

From /proc, not by psutil: that names one process of a socket, which several may have open, looks at every process of
the machine each time, and tells nothing by which a single answer could be checked cheaply.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Collection, Iterator

from ..errors import UserError
from ..log import say

TRIED = 100  # ports, from API_PORT on

_LISTENS = "0A"  # TCP_LISTEN, include/net/tcp_states.h
_TAKE_LOOPBACK = ("127.0.0.1", "0.0.0.0")


def listeners(port: int) -> set[str]:
    """Return the sockets, as "socket:[4711]", that may take a connection to 127.0.0.1:PORT; several can share it."""
    found = set()
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(FileNotFoundError), open(f"/proc/net/{name}", encoding="ascii") as stream:
            next(stream)
            for line in stream:
                _, local, _, state, *_, inode = line.split()[:10]
                address, _, number = local.rpartition(":")
                # The last four bytes: of ::ffff:127.0.0.1 too, and of ::, which takes IPv4 as a rule.
                last = socket.inet_ntoa(struct.pack("=I", int(address[-8:], 16)))
                if state == _LISTENS and int(number, 16) == port and last in _TAKE_LOOPBACK:
                    found.add(f"socket:[{inode}]")
    return found


def held_by(group: int) -> dict[str, str]:
    """Return the sockets that a process group has open, each with a /proc/PID/fd/N that is one."""
    found = {}
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        # A process may end at any moment; another user's tells nothing.
        with contextlib.suppress(OSError):
            if os.getpgid(int(pid)) == group:
                for entry in os.scandir(f"/proc/{pid}/fd"):
                    with contextlib.suppress(OSError):
                        found[os.readlink(entry.path)] = entry.path
    return {link: path for link, path in found.items() if link.startswith("socket:")}


def can_be_bound(port: int) -> bool:
    """Return whether a server could have the port now. Connections that have just ended do not matter to it either."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@contextlib.contextmanager
def claim(first: int, lost: Collection[int] = ()) -> Iterator[int]:
    """Choose the first port from ``first`` on that nobody has, and keep other sweeps of this machine from choosing it.

    A server listens when its model is loaded, minutes after its port was chosen.

    Args:
        first: the first port to try.
        lost: ports that are not tried again.

    Raises:
        UserError: none is free.
    """
    last = min(first + TRIED - 1, 65535)
    for number in range(first, last + 1):
        with contextlib.ExitStack() as stack:
            if number in lost or not stack.enter_context(mark(number)) or listeners(number) or not can_be_bound(number):
                continue
            if number != first:
                say(f"port {first} is in use; taking {number}")
            yield number
            return
    raise UserError(
        f"no free port from {first} to {last} on 127.0.0.1; set API_PORT to another range, or see who listens: ss -ltnp"
    )


@contextlib.contextmanager
def mark(port: int) -> Iterator[bool]:
    """Mark a port as chosen; yields False when another process has.

    By the name of a Unix socket that is no file: the kernel lets one process of the machine have it, whosever it is,
    and forgets it with that process.
    """
    with socket.socket(socket.AF_UNIX) as ours:
        try:
            ours.bind(f"\0few-shot-sft:{port}")
        except OSError:
            yield False
        else:
            yield True


class NotOurs(Exception):
    """What listens on the port, if anything, is not our server: nothing that it says means anything."""


class Taken(NotOurs):
    """Another program listens on the port, or beside our server, which can share it then."""


class ServerPort:
    """The port of our server: a process, and whatever else is in its process group."""

    def __init__(self, number: int, pid: int) -> None:
        self.number = number
        self._pid = self._group = pid
        self._ours: dict[str, str] = {}

    def check(self) -> None:
        """Look whether our server listens there, and nobody else.

        Raises:
            NotOurs, Taken: it is not so.
        """
        listening = listeners(self.number)
        held = self._held() if listening else {}
        self._ours = {link: held[link] for link in listening & held.keys()}
        if listening - held.keys():
            raise Taken(f"another program listens on port {self.number}")
        if not listening:
            raise NotOurs(f"nothing listens on port {self.number}")

    def check_again(self) -> None:
        """The same at next to no cost, for every answer: while our server's socket is open no other gets its place.

        Raises:
            NotOurs, Taken: it has lost it.
        """
        try:
            if self._ours and all(os.readlink(path) == link for link, path in self._ours.items()):
                return
        except OSError:
            pass
        self.check()

    def is_lost(self) -> bool:
        """Return whether the port is kept from our server, which may have ended for that."""
        return not (listeners(self.number) & self._held().keys() or can_be_bound(self.number))

    def _held(self) -> dict[str, str]:
        with contextlib.suppress(ProcessLookupError):  # it has ended; its group may go on
            self._group = os.getpgid(self._pid)
        return held_by(self._group)
