"""Ask a server one question after the other, until it answers: an open port and /v1/models prove nothing.

Nothing counts that another program answers: what listens on the port must belong to the process group of our server.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import TypeVar

from ..processes import is_alive
from . import endpoint, ports, probe_set
from .client import ChatClient, Late, Refused, Retry, Unanswered

FIRST_TIMEOUT = 10.0  # seconds for a request, more after that was not enough
INTERVAL = 0.5  # seconds between two tries

T = TypeVar("T")


class NoAnswer(Exception):
    """No answer, and no use in asking on: the time is over, or the server has ended."""


class Refusal(NoAnswer):
    """It answers, and refuses: another server, a wrong name or key; a new one would do the same."""


class PortLost(NoAnswer):
    """The port is another program's."""


class Probe:
    """Asks until an answer comes, for ``wait`` seconds while the server's process lives.

    A slow server must not be taken for one that hangs, and what it is no longer waited for it may go on computing:
    each answer that does not come in time doubles the time of the next ones, up to what is left of ``wait``.
    """

    def __init__(self, url: str, pid: int, model: str, wait: float, stop: tuple[int, ...] = ()) -> None:
        """Prepare; the seconds begin.

        Args:
            url: the server's, ``http://127.0.0.1:8000/v1``.
            pid: its process.
            model: the name that it knows the model by.
            wait: seconds.
            stop: tokens that end an answer.
        """
        self.begin()
        key, tokens = endpoint.api_key(), probe_set.MAX_TOKENS
        self._client = ChatClient(
            url, model, key, max_tokens=tokens, timeout=FIRST_TIMEOUT, retry=Retry(0), stop_token_ids=stop
        )
        self._pid, self._model, self._wait = pid, model, wait
        self._port = ports.ServerPort(endpoint.port_of(url), pid)
        self._timeout = FIRST_TIMEOUT

    def begin(self) -> None:
        """Let the seconds begin again."""
        self._began = monotonic()

    @property
    def seconds(self) -> float:
        """Since they began."""
        return monotonic() - self._began

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def tokens(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """Return the tokens that `vllm serve` makes of a prompt.

        Raises:
            NoAnswer: it does not tell.
        """

        def call(timeout: float) -> Awaitable[list[int]]:
            return self._client.tokens(messages, timeout)

        return await self._until(call, "a prompt's tokens are not told", "it refuses to tell a prompt's tokens")

    async def load(self, adapter: Path) -> None:
        """Have `vllm serve` load an adapter under the name that is asked.

        Raises:
            NoAnswer: it does not.
        """

        def call(timeout: float) -> Awaitable[None]:
            return self._client.load_adapter(self._model, adapter, timeout)

        await self._until(call, "not loaded", f"{adapter} is refused")

    async def ask(self, system: str | None, human: str, missing: str, refused: str) -> str:
        """Return the answer to a system message, if there is one, and a human message.

        Raises:
            NoAnswer: there is none; it begins with ``missing``, or of a server that refuses with ``refused``.
        """

        async def call(timeout: float) -> str:
            return (await self._client.ask(system, human, timeout)).text

        return await self._until(call, missing, refused)

    async def _until(self, call: Callable[[float], Awaitable[T]], missing: str, refused: str) -> T:
        seen = taken = False
        while True:
            left = self._wait - self.seconds
            try:
                timeout = min(self._timeout, max(left, FIRST_TIMEOUT))
                with self._ours_only():
                    return await call(timeout)
            except Refused as error:
                raise Refusal(f"{refused}: {error}") from None
            except Unanswered as error:
                before, taken = taken, isinstance(error.__cause__, ports.Taken)
                seen = seen or taken
                ended = not is_alive(self._pid)
                # Seen once, it may be a socket of our own server, which closed it at that moment.
                if (before and taken) or (ended and (seen or self._port.is_lost())):
                    raise PortLost(f"port {self._port.number} is another program's, not our server's") from None
                if ended:
                    line = f"the server's process {self._pid} ended after {self.seconds:.0f} s; last: {error}"
                    raise NoAnswer(line) from None
                if self.seconds + INTERVAL > self._wait:
                    raise NoAnswer(f"{missing} after {self.seconds:.0f} s; last: {error}") from None
                if isinstance(error, Late):
                    self._timeout *= 2
                await asyncio.sleep(INTERVAL)

    @contextlib.contextmanager
    def _ours_only(self) -> Iterator[None]:
        """Let nothing count that was said, be it an answer or a refusal, unless our server alone can have said it.

        Raises:
            Unanswered: another may have.
        """
        try:
            self._port.check()
            try:
                yield
            finally:
                self._port.check()
        except ports.NotOurs as error:
            raise Unanswered(f"no connection: {error}") from error
