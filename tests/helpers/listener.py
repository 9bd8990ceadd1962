"""Whoever is not to hear of us: a listener that notes who calls. In the place of LangSmith, OpenAI, or a proxy.

    [unshare -rn] python listener.py FILE COMMAND...

runs COMMAND with HEARS=URL, the listener's address, and adds the first line of every request to FILE. In a network of
its own (unshare) only this machine's own addresses are reached, once its loopback is up.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Thread


@contextlib.contextmanager
def listener() -> Iterator[tuple[str, list[str]]]:
    """Listen on a free port of 127.0.0.1; yield the URL, and what is heard."""
    heard: list[str] = []

    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            heard.append(self.rfile.readline().decode(errors="replace").strip())
            self.wfile.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")

    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", heard
        server.shutdown()


def loopback_up() -> None:
    """As `ip link set lo up`, which is not everywhere; no harm where it is up."""
    with socket.socket() as any_socket, contextlib.suppress(PermissionError):
        up_and_running, set_flags = 0x41, 0x8914  # IFF_UP | IFF_RUNNING, SIOCSIFFLAGS
        fcntl.ioctl(any_socket, set_flags, struct.pack("16sh14x", b"lo", up_and_running))


if __name__ == "__main__":
    loopback_up()
    with listener() as (url, heard):
        status = subprocess.run(sys.argv[2:], env=os.environ | {"HEARS": url}, check=False).returncode
    with open(sys.argv[1], "a", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in heard)
    sys.exit(status)
