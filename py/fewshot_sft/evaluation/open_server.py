"""A server for people: started, checked and ended by the rules of the evaluation, for as long as somebody uses it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from sys import stderr

from ..errors import UserError
from ..runs import K_SHOT, Run
from ..serving.check import check
from ..serving.fused import for_vllm
from ..serving.probe import NoAnswer
from ..serving.server import HOST, NoServer, Server, serve
from . import together, trained


@contextmanager
def open_server(chosen: Sequence[Run], command: Sequence[str], host: str = HOST) -> Iterator[Server]:
    """Run a server that answers as each of these runs, while the ``with`` block runs.

    Args:
        chosen: the runs, of one sweep; several only with SERVER=vllm.
        command: of the server, without its address.
        host: where it listens.

    Raises:
        UserError: a run is not trained, or there is no server.
    """
    settings = chosen[0].settings
    for run in chosen:
        if run.method == K_SHOT:
            raise UserError(f"{run.title}: the base model with examples in each question; give {run.served_as} instead")
        trained.check(run)
    with ExitStack() as stack:
        try:
            with redirect_stdout(stderr):  # stdout is for the answers
                if settings["SERVER"] == "vllm":
                    server = stack.enter_context(together.served(settings, command, host))
                    for run in chosen:
                        if run.is_trained:
                            wait, load = settings.request_timeout, for_vllm(run.adapter)
                            check(run, server.url, server.pid, wait, load=load)
                else:
                    (run,) = chosen

                    def usable(server: Server) -> None:
                        check(run, server.url, server.pid, settings.ready_timeout)

                    server = stack.enter_context(serve(run, command, run.log("server"), usable, host))
        except (NoServer, NoAnswer) as error:
            raise UserError(f"there is no server: {error}") from None
        yield server
