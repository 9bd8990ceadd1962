"""Each label's probability through `vllm serve`, from what comes with the answer: the probabilities of the tokens that
tell the labels apart, where they are few, else those of the likeliest tokens.

Only where another label may be likelier than the answer more is asked for, as a continuation of the prompt's own
tokens: one request for each place where labels part.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from ..identity import flags_of
from ..runs import ZERO_SHOT, Run
from .label_tree import Found, LabelTree, Prefix, read_position, token_of

CARRIED = 5  # likeliest tokens at each position of an answer, which the client has to read
MOST = 20  # likeliest tokens that are told where more is asked for (the default of --max-logprobs)
FEW = 16  # tokens that are told instead of the likeliest: they take the client 1 ms an item


def scorer_of(run: Run, tokens: Sequence[Sequence[Any]]) -> LabelScorer | None:
    """Return what asks for a run's label scores; None where the labels have no tokens.

    Args:
        run: served by `vllm serve`.
        tokens: of each label, and those that end an answer.
    """
    if not tokens[0]:
        return None
    # A server that decodes speculatively (vLLM 0.26) fails when it is asked for tokens of our choice.
    speculates = any(flag.startswith("speculative") for flag in flags_of(run.settings.server_args))
    # The answers of a model that knows no labels are long and tell little of them: nothing comes with them.
    return LabelScorer(LabelTree(*tokens), 0 if run.method == ZERO_SHOT else CARRIED, 0 if speculates else FEW)


class LabelScorer:
    """What to ask, and how the answers are read."""

    def __init__(self, tree: LabelTree, carried: int = CARRIED, few: int = FEW) -> None:
        """Prepare.

        Args:
            tree: of the labels.
            carried: likeliest tokens that come with an answer; 0: nothing comes with it.
            few: so many tokens that tell the labels apart come instead of the likeliest, at most.
        """
        self._tree = tree
        tokens = dict.fromkeys(token for each in tree.branches.values() for token in each.asked)
        # The front end in Rust does not know them; else the number of likeliest tokens is not looked at. All requests
        # have them or none: vLLM's older model runner mixes up what is asked for in one batch.
        self._told: dict[str, Any] = {"return_tokens_as_token_ids": True}
        if len(tokens) <= few:
            self._told["logprob_token_ids"] = [*tokens]
        # What the request of an answer has beside: it changes nothing in the answer.
        self.fields = {"logprobs": True, "top_logprobs": carried, **self._told} if carried else {}

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
            found = await asyncio.gather(*(self._next_token(client, model, [*prompt, *prefix]) for prefix in more))
            known |= dict(zip(more, found, strict=True))
            asked.update(more)
            masses, more = self._tree.masses(known)
        return tuple(masses)

    async def _next_token(self, client: Any, model: str, prompt: Sequence[int]) -> Found:
        """Return the probabilities of tokens after a prompt."""
        body = {"model": model, "prompt": list(prompt), "max_tokens": 1, "temperature": 0, "logprobs": MOST}
        answer = await _post(client, "/completions", body | self._told)
        top = answer["choices"][0]["logprobs"]["top_logprobs"][0]
        return read_position([{"token": token, "logprob": value} for token, value in top.items()])


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


async def _post(client: Any, path: str, body: dict[str, Any]) -> Any:
    """Return what the server answers. The client's own methods look at each token of a prompt: 5 ms for 500."""
    import httpx

    return (await client.post(path, body=body, cast_to=httpx.Response)).json()
