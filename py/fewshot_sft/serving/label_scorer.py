"""Each label's probability through `vllm serve`: as far as the tokens can tell whose probabilities come with an answer.

Where labels part at few tokens these come, which tells all at each place that the answer passes; else, and from a front
end that cannot tell them (vLLM's in Rust), the likeliest. Only where another label may be likelier than the answer more
is asked for, as a continuation of the prompt's own tokens: one request for each place where labels part.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from .label_tree import Found, LabelTree, Prefix, read_position, token_of

CARRIED = 5  # likeliest tokens at each position of an answer, which the client has to read
FEW = 16  # tokens of the labels that come instead: they take the client 1 ms an item
MOST = 20  # likeliest tokens that are told where more is asked for (the default of --max-logprobs)


class LabelScorer:
    """What to ask, and how the answers are read."""

    def __init__(self, tree: LabelTree, carried: int = CARRIED) -> None:
        """Take the tree of the labels, and how many likeliest tokens come with an answer (0: nothing comes with it)."""
        self._tree = tree
        # What the request of an answer has beside: it changes nothing in the answer.
        self.fields: dict[str, Any] = {}
        if carried:
            self.fields = {"logprobs": True, "top_logprobs": carried, "return_tokens_as_token_ids": True}
            tokens = dict.fromkeys(token for each in tree.branches.values() for token in each.asked)
            if len(tokens) <= FEW:
                self.fields["logprob_token_ids"] = [*tokens]  # where it is known, top_logprobs is not looked at

    async def scores(self, client: Any, model: str, messages: list[Any], said: Any) -> tuple[float, ...]:
        """Return the probability of each label.

        Args:
            client: OpenAI's asynchronous client of the server.
            model: as the server knows it.
            messages: the question, ``{"role", "content"}`` each.
            said: LangChain's message with the answer.

        Raises:
            Exception: whatever the server or its answer is not good for.
        """
        come = said.response_metadata["logprobs"]["content"] if self.fields else ()
        positions = [(token_of(each["token"]), read_position([*each["top_logprobs"], each])) for each in come]
        known = self._tree.walk(positions)
        asked: set[Prefix] = set()
        masses, more = self._tree.masses(known)
        prompt: list[int] = []
        while more := [prefix for prefix in more if prefix not in asked]:
            if not prompt and len(prompt := await tokens_of(client, messages)) != said.usage_metadata["input_tokens"]:
                raise ValueError("the server makes other tokens of the prompt when it is only to tell them")
            found = await asyncio.gather(*(_next_token(client, model, [*prompt, *prefix]) for prefix in more))
            known |= dict(zip(more, found, strict=True))
            asked.update(more)
            masses, more = self._tree.masses(known)
        return tuple(masses)


async def tokens_of(client: Any, messages: Sequence[Any]) -> list[int]:
    """Return the tokens that `vllm serve` makes of a prompt.

    Args:
        client: OpenAI's asynchronous client of the server.
        messages: ``{"role", "content"}`` each.
    """
    # Not below /v1, where all else is. No model is named: the Rust front end knows no adapters here.
    url = str(client.base_url).rstrip("/").removesuffix("/v1") + "/tokenize"
    answer = await _post(client, url, {"messages": messages, "add_generation_prompt": True})
    return [int(each) for each in answer["tokens"]]


async def _next_token(client: Any, model: str, prompt: Sequence[int]) -> Found:
    """Return the probabilities of the likeliest tokens after a prompt."""
    body = {"model": model, "prompt": list(prompt), "max_tokens": 1, "temperature": 0, "logprobs": MOST}
    answer = await _post(client, "/completions", body | {"return_tokens_as_token_ids": True})
    top = answer["choices"][0]["logprobs"]["top_logprobs"][0]
    return read_position([{"token": token, "logprob": value} for token, value in top.items()])


async def _post(client: Any, path: str, body: dict[str, Any]) -> Any:
    """Return what the server answers. The client's own methods look at each token of a prompt: 5 ms for 500."""
    import httpx

    return (await client.post(path, body=body, cast_to=httpx.Response)).json()
