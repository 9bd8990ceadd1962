"""Whose a port is, by the sockets that listen on it."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
import sys

import pytest

from fewshot_sft.errors import UserError
from fewshot_sft.serving import ports

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


def quiet_port() -> int:
    """Return a port that nobody has, nor the next ones, below those that systems give to clients."""
    ports_from = range(random.randrange(10_000, 19_000), 20_000)
    return next(first for first in ports_from if all(map(ports.can_be_bound, range(first, first + 5))))


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
    process, number = listen("127.0.0.1", quiet_port())
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


def test_a_port_is_chosen_that_nobody_has_and_no_other_sweep_has_chosen(listen, capsys):
    _, first = listen("127.0.0.1", quiet_port())
    with contextlib.ExitStack() as claims, socket.socket() as bound:
        second = claims.enter_context(ports.claim(first))
        third = claims.enter_context(ports.claim(first))  # a sweep that starts now
        assert first < second < third
        bound.bind(("127.0.0.1", third + 1))  # it need not listen
        assert claims.enter_context(ports.claim(first, {third + 2})) > third + 2
        assert f" port {first} is in use; taking {second}\n" in capsys.readouterr().err
    with ports.claim(second) as again:  # its mark has ended
        assert again == second


def test_where_no_port_is_free_that_is_said(listen, monkeypatch):
    _, number = listen("127.0.0.1")
    monkeypatch.setattr(ports, "TRIED", 1)
    told = rf"^no free port from {number} to {number} on 127\.0\.0\.1; set API_PORT to another range, or see who "
    with pytest.raises(UserError, match=told), ports.claim(number):
        pass
