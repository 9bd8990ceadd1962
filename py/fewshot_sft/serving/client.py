"""One question to an OpenAI-compatible server through LangChain's ``ChatOpenAI``, asked again where that can help."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from .endpoint import hide_key, is_loopback
from .label_scorer import LabelScorer, tokens_of

# Besides 5xx: the server says itself that a later try may succeed.
PASSING_STATUS = (408, 429)
# What LangChain, LangSmith and OpenAI's client take from the environment, without a word: a tracer that every text is
# sent to, other keys, addresses and headers.
FOREIGN = ("LANGSMITH_", "LANGCHAIN_", "OPENAI_")
ROLES = {"system": "system", "human": "user", "ai": "assistant"}  # LangChain's words and the server's

T = TypeVar("T")


@dataclass(frozen=True)
class Retry:
    """How often and when to ask again: after ``wait`` s plus jitter, doubled each time, ``longest`` s at most."""

    retries: int = 5
    wait: float = 0.5
    longest: float = 8.0


@dataclass(frozen=True)
class Answer:
    """What the model said, as it came; ``cut`` when max_tokens ended it; ``seconds`` of the call.

    ``scores``: the probability of each label, where they were asked for and could be had.
    """

    text: str
    cut: bool
    seconds: float
    scores: tuple[float, ...] | None = None


class Refused(Exception):
    """The server refuses the request for good (401, 404, 400, ...): asking again or restarting it changes nothing."""


class Unanswered(Exception):
    """No answer after all retries: no connection, no reply in time, 429, 5xx or something that is no completion."""


class Late(Unanswered):
    """No reply in time: the server hangs, or it is only slow."""


def chat_model(
    base_url: str,
    model: str,
    api_key: str,
    max_tokens: int,
    stop_token_ids: Sequence[int] = (),
    extra: Mapping[str, Any] | None = None,
    timeout: float | None = None,
) -> Any:
    """Return LangChain's ``ChatOpenAI`` of a server, which takes nothing from the environment.

    Args:
        base_url, model, api_key, max_tokens, stop_token_ids: as :class:`ChatClient` has them.
        extra: further fields of each request.
        timeout: seconds for each read.
    """
    for name in [name for name in os.environ if name.startswith(FOREIGN)]:
        del os.environ[name]
    # 2 s of imports, which a command that only skips finished work does not need.
    import openai
    from langchain_openai import ChatOpenAI

    # Http clients of our own decide about proxies: `trust_env` reads HTTP_PROXY and the like, which a local server must
    # not be asked through, whatever NO_PROXY says. Left out, they are made from the environment, and OPENAI_PROXY.
    environment = not is_loopback(base_url)
    # ChatOpenAI sends its own max_tokens as max_completion_tokens, which LLaMA-Factory's server ignores.
    body: dict[str, Any] = {"max_tokens": max_tokens}
    if stop_token_ids:
        # As `vllm serve --generation-config vllm` has it, which its Rust front end lacks: nothing of the model's own.
        body |= {"stop_token_ids": list(stop_token_ids), "repetition_penalty": 1.0}
    return ChatOpenAI(
        base_url=base_url,
        model=model,
        api_key=api_key,
        temperature=0,
        extra_body=body | dict(extra or {}),
        timeout=timeout,
        max_retries=0,
        use_responses_api=False,
        # On aiohttp: httpx's own pool looks at all its connections for every request, which at 64 of them took a
        # third of the client's CPU time, and more with each further one.
        http_async_client=openai.DefaultAioHttpClient(trust_env=environment),
        http_client=openai.DefaultHttpxClient(trust_env=environment),
        http_socket_options=(),
        openai_proxy=None,
    )


class ChatClient:
    """A chat model behind ``base_url``. It belongs to the event loop that it is first used in."""

    def __init__(
        self,
        base_url: str,
        model: str,
        api_key: str,
        *,
        max_tokens: int,
        timeout: float,
        retry: Retry | None = None,
        choices: Sequence[str] | None = None,
        stop_token_ids: Sequence[int] = (),
        examples: Sequence[tuple[str, str]] = (),
        scorer: LabelScorer | None = None,
    ) -> None:
        """Make the client.

        Args:
            base_url: for example ``http://127.0.0.1:8000/v1``.
            model: the name that the server knows the model by.
            api_key: sent with every request.
            max_tokens: of an answer.
            timeout: seconds for one try.
            retry: how often and when to ask again.
            choices: the only answers that the server lets the model give (vLLM's structured outputs).
            stop_token_ids: that end an answer, besides the tokenizer's own end.
            examples: pairs of a human message and its answer, between the system message and each question.
            scorer: asks for the labels' probabilities, too.
        """
        self._key = api_key
        self._model = model
        self._timeout = timeout
        self._retry = retry or Retry()
        self._scorer = scorer
        self._examples = [turn for human, answer in examples for turn in (("human", human), ("ai", answer))]
        extra: dict[str, Any] = {}
        if choices is not None:
            extra["structured_outputs"] = {"choice": list(choices)}
        if scorer is not None:
            extra |= scorer.fields
        self._chat = chat_model(base_url, model, api_key, max_tokens, stop_token_ids, extra)

    async def ask(self, system: str | None, human: str, timeout: float | None = None) -> Answer:
        """Return the model's answer to a system message, if there is one, and a human message.

        ``timeout`` takes the place of the client's own.

        Raises:
            Refused: 4xx other than 408 and 429.
            Unanswered: anything else, after the last retry.
        """
        from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

        retry = self._retry
        # One object a question: its state is shared by all tasks of a thread.
        retrying = AsyncRetrying(
            stop=stop_after_attempt(retry.retries + 1),
            wait=wait_exponential_jitter(multiplier=retry.wait, max=retry.longest, jitter=retry.wait),
            retry=retry_if_exception(_passes),
            reraise=True,
        )
        messages = [("system", system)] * (system is not None) + self._examples + [("human", human)]
        timeout = timeout or self._timeout
        return await self._reach(timeout, retrying(self._ask_once, messages, timeout))

    async def load_adapter(self, name: str, folder: Path, timeout: float) -> None:
        """Have `vllm serve` load an adapter, to be asked for as model ``name``; once is enough.

        Raises:
            Refused, Unanswered: it could not.
        """
        import httpx

        async def load() -> None:
            body = {"lora_name": name, "lora_path": str(folder.resolve())}
            async with asyncio.timeout(timeout):
                await self._chat.root_async_client.post("/load_lora_adapter", body=body, cast_to=httpx.Response)

        try:
            await self._reach(timeout, load())
        except Refused as error:
            # It went on loading what it was no longer waited for.
            if "already been loaded" not in str(error):
                raise

    async def tokens(self, messages: Sequence[Mapping[str, str]], timeout: float) -> list[int]:
        """Return the tokens that `vllm serve` makes of a prompt, ``{"role", "content"}`` each.

        Raises:
            Refused, Unanswered: it does not tell.
        """

        async def call() -> list[int]:
            async with asyncio.timeout(timeout):
                return await tokens_of(self._chat.root_async_client, messages)

        return await self._reach(timeout, call())

    async def _reach(self, timeout: float, call: Awaitable[T]) -> T:
        try:
            return await call
        except Exception as error:
            reason = hide_key(describe(error, timeout), self._key)
            kind = Refused if not _passes(error) else Late if _is_timeout(error) else Unanswered
            raise kind(reason) from error

    async def _ask_once(self, messages: list[tuple[str, str]], timeout: float) -> Answer:
        begin = time.monotonic()
        # Of the whole call: a client's own timeout is per read, which a byte now and then would never reach.
        async with asyncio.timeout(timeout):
            message = await self._chat.ainvoke(messages)
        if not isinstance(message.content, str):
            raise TypeError(f"the answer is no text: {message.content!r}")
        cut = message.response_metadata.get("finish_reason") == "length"
        seconds = time.monotonic() - begin
        scores = None
        if self._scorer is not None:
            # The answer counts without them, whatever goes wrong.
            with contextlib.suppress(Exception):
                async with asyncio.timeout(timeout):
                    turns = [{"role": ROLES[kind], "content": content} for kind, content in messages]
                    scores = await self._scorer.scores(self._chat.root_async_client, self._model, turns, message)
        return Answer(message.content, cut, seconds, scores)

    async def close(self) -> None:
        """Close the connections."""
        await self._chat.http_async_client.aclose()


def describe(error: Exception, timeout: float) -> str:
    """Return in one line why there is no answer; ``timeout`` is how long it was waited for."""
    import httpx
    import openai

    if (status := _status(error)) is not None:
        return f"HTTP {status}: {_excerpt(error) or 'no text'}"
    if _is_timeout(error):
        return f"no answer within {timeout:g} s"
    if isinstance(error, openai.APIConnectionError | httpx.TransportError):
        return f"no connection, or it broke: {_root(error)}"
    return f"the answer is no chat completion ({type(error).__name__}: {error}): {_excerpt(error) or 'no text'}"


def _status(error: BaseException) -> int | None:
    return getattr(error, "status_code", None)


def _passes(error: BaseException) -> bool:
    """Whether a later try may succeed. What has no HTTP status (no connection, garbage) may."""
    if not isinstance(error, Exception):  # CancelledError: we are being ended
        return False
    status = _status(error)
    return status is None or status in PASSING_STATUS or status >= 500


def _excerpt(error: Exception) -> str:
    """The beginning of the response's body, as far as the error knows it."""
    try:
        return error.response.text[:200]  # type: ignore[attr-defined] # not every error has one
    except Exception:  # no response, or one whose body never came
        return ""


def _is_timeout(error: BaseException) -> bool:
    """Whether there was no answer in time; openai's APITimeoutError may be any broken connection below aiohttp."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, TimeoutError):
        cause = cause.__cause__ or cause.__context__
    return cause is not None


def _root(error: BaseException) -> str:
    """What the lowest exception of the chain says: "Connection refused" rather than "Connection error."."""
    said = str(error)
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
        said = str(error) or said
    return said
