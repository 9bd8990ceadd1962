"""A conversation with a served model through LangChain's ``ChatOpenAI``, streamed."""

from __future__ import annotations

from collections.abc import Iterator

from ..settings import Settings
from .client import chat_model, describe
from .endpoint import api_key, hide_key
from .prompt import stop_token_ids

LONGEST = 512  # tokens of an answer


class Failed(Exception):
    """There is no answer, or not the whole of it."""


class Conversation:
    """A system message and what was said since."""

    def __init__(self, url: str, model: str, system: str, settings: Settings) -> None:
        """Begin; ``model`` is the name that the server at ``url`` knows it by."""
        timeout = settings.request_timeout
        self._chat = chat_model(url, model, api_key(), LONGEST, stop_token_ids(settings), timeout=timeout)
        self._system, self._timeout = system, timeout
        self.reset()

    def reset(self) -> None:
        """Forget what was said."""
        self._said = [("system", self._system)] if self._system else []

    def ask(self, message: str) -> Iterator[str]:
        """Yield the answer, piece by piece, without space before it. What was not answered is forgotten.

        Raises:
            Failed: the server did not answer to the end.
        """
        pieces: list[str] = []
        try:
            for chunk in self._chat.stream([*self._said, ("human", message)]):
                piece = chunk.content if isinstance(chunk.content, str) else ""
                if piece := piece if pieces else piece.lstrip():
                    pieces.append(piece)
                    yield piece
        except Exception as error:
            raise Failed(hide_key(describe(error, self._timeout), api_key())) from None
        self._said += [("human", message), ("ai", "".join(pieces))]
