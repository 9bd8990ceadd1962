"""A server of ours, from its start to its end: a port and a key of its own, used when it answers, ended as a group."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .. import base_model
from ..children import Child
from ..log import say, say_why, show_tail, start_log
from ..runs import Run
from ..settings import Settings
from . import endpoint, ports
from .check import NotApplied, say_not_applied
from .probe import NoAnswer, PortLost

HOST = "127.0.0.1"
PORT_TRIES = 10  # of one start; SERVER_RESTARTS does not count them


class NoServer(Exception):
    """None could be started, or none that can be used; why has been said."""


@dataclass(frozen=True)
class Server:
    """A server that runs: its address, its process, what messages call it, and our child when it is one."""

    url: str
    pid: int
    title: str
    child: Child | None = None

    @property
    def port(self) -> ports.ServerPort:
        """Its port, to see that it still has it."""
        return ports.ServerPort(endpoint.port_of(self.url), self.pid)

    def has_ended(self, wait: float = 0.0) -> bool:
        """Return whether it ended by itself, now or within ``wait`` s, and say so."""
        status = self.child.wait(wait) if self.child else None
        if status is not None:
            say_why(f"{self.title} ended in the middle, with status {status}")
        return status is not None

    def show_log(self) -> None:
        """Show the end of our child's log."""
        if self.child and self.child.log:
            show_tail(self.child.log)


def address(run: Run, port: int, host: str = HOST) -> dict[str, str]:
    """Return what tells `llamafactory-cli api` where to listen, and under which name."""
    return {"API_HOST": host, "API_PORT": str(port), "API_MODEL_NAME": run.served_as}


def flags(run: Run, port: int, host: str = HOST) -> list[str]:
    """Return what tells `vllm serve` the same, of the base model."""
    return ["--host", host, "--port", str(port), "--served-model-name", run.name]


def from_its_source(command: Sequence[str], settings: Settings) -> list[str]:
    """Return `vllm serve MODEL` with what MODEL is loaded from: vLLM would ask Hugging Face's hub for ModelScope's."""
    model = settings["MODEL"]
    return [base_model.source(settings) if word == model else word for word in command]


@contextmanager
def serve(
    run: Run, command: Sequence[str], log: Path, check: Callable[[Server], None], host: str = HOST
) -> Iterator[Server]:
    """Run a server while the ``with`` block runs; at its end the server has ended, and all that it has started.

    A port that another program has taken, before our server listened there or as it did, means another port.

    Args:
        run: whose name it serves; with SERVER=vllm the base model's, beside which adapters are loaded.
        command: of the server, without its address.
        log: where its output goes.
        check: waits until it can be used.
        host: where it listens; it is asked at 127.0.0.1.

    Raises:
        NoServer: it cannot be.
        UserError: there is no free port, or the base model cannot be had.
    """
    settings = run.settings
    of_all = settings["SERVER"] == "vllm"
    title = "the server" if of_all else f"{run.title}: the server"
    first = settings.api_port
    lost: set[int] = set()
    for _ in range(PORT_TRIES):
        with ports.claim(first, lost) as port:
            # 128 bits, by way of the environment only: neither a log nor the process list shows them.
            key = os.environ[endpoint.API_KEY] = secrets.token_hex(16)
            environment = {"API_KEY": key, "VLLM_API_KEY": key}
            if of_all:
                words = [*from_its_source(command, settings), *flags(run, port, host)]
                environment["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = "True"
            else:
                words = list(command)
                environment |= address(run, port, host) | {"API_VERBOSE": "0"}
            say(f"{'starting the server of all runs' if of_all else f'{run.title}: starting the server'} (log: {log})")
            start_log(log, words)
            what = "the server" if of_all else f"the server of {run.title}"
            child = Child(what, words, patience=settings.stop_timeout, log=log, environment=environment)
            try:
                server = Server(f"http://{HOST}:{port}/v1", child.pid, title, child)
                try:
                    check(server)
                except PortLost as error:
                    print(error, flush=True)
                    show_tail(log)
                    first, lost = port, {port, *lost}
                    continue
                except NotApplied as error:
                    say_not_applied(run, error)
                    raise NoServer(str(error)) from None
                except NoAnswer as error:
                    say_why(f"{run.title}: {error}")
                    show_tail(log)
                    raise NoServer(str(error)) from None
                yield server
                return
            finally:
                if not child.stop():
                    say(f"warning: {title} may still hold the GPU; see nvidia-smi")
    why = (
        f"{title} cannot be started, for {PORT_TRIES} ports were taken by other programs before it had them; set "
        "API_PORT to another range"
    )
    say_why(why)
    raise NoServer(why)
