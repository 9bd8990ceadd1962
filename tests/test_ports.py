"""Whose a port is, by the sockets that listen on it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fewshot_sft.serving import ports

PY = Path(__file__).resolve().parents[1] / "py"
LISTEN = """
import socket, sys
address, number = sys.argv[1], int(sys.argv[2])
family = socket.AF_INET6 if ":" in address else socket.AF_INET
with socket.create_server((address, number), family=family, reuse_port=True, dualstack_ipv6=address == "::") as server:
    print(server.getsockname()[1], flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def listen():
    """Return ``listen(address, port=0)``: it starts a program, in its own group, and returns that and its port."""
    started = []

    def start(address: str, number: int = 0) -> tuple[subprocess.Popen[str], int]:
        command = [sys.executable, "-c", LISTEN, address, str(number)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        started.append(subprocess.Popen(command, text=True, process_group=0, **pipes))
        return started[-1], int(started[-1].stdout.readline())

    yield start
    for process in started:
        process.communicate("")


@pytest.mark.parametrize(
    ("address", "counts"), [("127.0.0.1", 1), ("0.0.0.0", 1), ("::", 1), ("::1", 0), ("127.0.0.2", 0)]
)
def test_what_listens_is_ours_when_it_is_in_our_servers_group(listen, address, counts):
    if ":" in address and not socket.has_ipv6:
        pytest.skip("no IPv6")
    process, number = listen(address)

    assert len(ports.listeners(number)) == counts
    if counts:
        ports.ServerPort(number, process.pid).check()
    with pytest.raises(ports.NotOurs) as caught:
        ports.ServerPort(number, os.getpid()).check()
    assert isinstance(caught.value, ports.Taken) == bool(counts)


def test_a_port_that_another_program_shares_is_taken(listen):
    process, number = listen("127.0.0.1")
    port = ports.ServerPort(number, process.pid)
    port.check()

    listen("127.0.0.1", number)

    port.check_again()  # it only sees that ours is open
    with pytest.raises(ports.Taken, match=f"^another program listens on port {number}$"):
        port.check()


def test_a_server_that_ends_loses_its_port(listen):
    process, number = listen("127.0.0.1")
    port = ports.ServerPort(number, process.pid)
    port.check()
    assert not port.is_lost()

    process.communicate("")

    with pytest.raises(ports.NotOurs, match=f"^nothing listens on port {number}$"):
        port.check_again()
    assert not port.is_lost()  # another server could have it
    with socket.socket() as other:
        other.bind(("127.0.0.1", number))
        assert port.is_lost()  # though nothing listens


def test_a_port_has_one_mark_as_long_as_the_command_runs():
    number = os.getpid() % 50000 + 70000  # no port; the mark is only a name
    command = [sys.executable, "hold_port.py", str(number)]
    with subprocess.Popen([*command, "cat"], cwd=PY, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        holder.stdin.write(b"here\n")
        holder.stdin.flush()
        assert holder.stdout.readline() == b"here\n"
        assert len(ports.marks(number)) == 1
        second = subprocess.run([*command, "true"], cwd=PY, capture_output=True, text=True)
        assert (second.returncode, second.stdout) == (1, f"port {number}: another sweep's server is to listen there\n")
    assert ports.marks(number) == set()
    assert subprocess.run([*command, "true"], cwd=PY).returncode == 0
