"""Each label's probability through `vllm serve`: carried by the request that gets the answer, as far as that can tell.

That tells the probability of the answer's own tokens, and of the others where the labels have few. Only where another
label may be likelier than the answer more is asked for, as a continuation of the prompt's own tokens: one request a
level of the tree.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .label_tree import MOST, Found, LabelTree, Prefix, read_position, token_of


class LabelScorer:
    """What to ask, and how the answers are read."""

    def __init__(self, tree: LabelTree) -> None:
        """Take the tree of the labels."""
        self._tree = tree

    @property
    def fields(self) -> dict[str, Any]:
        """What the request of an answer has beside: it changes nothing in the answer."""
        carried = {"logprob_token_ids": list(self._tree.carried)} if self._tree.carried else {}
        return {"logprobs": True, "return_tokens_as_token_ids": True} | carried

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
        positions = [
            (token_of(each["token"]), read_position([*each["top_logprobs"], each]))
            for each in said.response_metadata["logprobs"]["content"]
        ]
        known = self._tree.walk(positions)
        masses, missing = self._tree.masses(known)
        prompt: list[int] = []
        while missing:
            prompt = prompt or await _tokens_of(client, model, messages, said.usage_metadata)
            for prefixes, tokens in _requests(missing):
                found = await _continue(client, model, [[*prompt, *prefix] for prefix in prefixes], tokens)
                for prefix, each in zip(prefixes, found, strict=True):
                    known[prefix] = known.get(prefix, {}) | each
            before = missing
            masses, missing = self._tree.masses(known)
            if any(set(tokens) & set(before.get(prefix, ())) for prefix, tokens in missing.items()):
                raise ValueError("the server does not tell the probability of a token that it was asked for")
        return tuple(masses)


def _requests(missing: dict[Prefix, tuple[int, ...]]) -> list[tuple[list[Prefix], list[int]]]:
    """Return (prefixes, tokens) for as few requests as hold them in this order, MOST tokens each."""
    made: list[tuple[list[Prefix], list[int]]] = []
    for prefix, tokens in missing.items():
        for begin in range(0, len(tokens), MOST):
            part = tokens[begin : begin + MOST]
            if made and len(both := dict.fromkeys([*made[-1][1], *part])) <= MOST and prefix not in made[-1][0]:
                made[-1] = ([*made[-1][0], prefix], list(both))
            else:
                made.append(([prefix], list(part)))
    return made


async def _tokens_of(client: Any, model: str, messages: list[Any], usage: Any) -> list[int]:
    """Return the tokens of the prompt; their number is that of the prompt that was answered."""
    import httpx

    # Not below /v1, where all else is.
    url = str(client.base_url).rstrip("/").removesuffix("/v1") + "/tokenize"
    body = {"model": model, "messages": messages, "add_generation_prompt": True}
    answer = await client.post(url, body=body, cast_to=httpx.Response)
    tokens = [int(each) for each in answer.json()["tokens"]]
    if len(tokens) != usage["input_tokens"]:
        raise ValueError("the server makes other tokens of the prompt when it is only to tell them")
    return tokens


async def _continue(client: Any, model: str, prompts: Sequence[list[int]], tokens: Sequence[int]) -> list[Found]:
    """Return the probabilities of the tokens after each prompt."""
    answer = await client.completions.create(
        model=model,
        prompt=list(prompts),
        max_tokens=1,
        temperature=0,
        logprobs=1,
        extra_body={"logprob_token_ids": list(tokens), "return_tokens_as_token_ids": True},
    )
    found: list[Found] = [{} for _ in prompts]
    for choice in answer.choices:
        top = choice.logprobs.top_logprobs[0]
        found[choice.index] = read_position([{"token": token, "logprob": value} for token, value in top.items()])
    return found
