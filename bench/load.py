"""What a running server can take: plain requests from several processes, no LangChain, nothing kept but the answers.

    FEWSHOT_API_KEY=... python bench/load.py --base-url http://127.0.0.1:8000/v1 --model NAME \\
        --data data/tiny/llm_test.json --limit 2000 --processes 4 --in-flight 512 --out load.json

Writes items, seconds and answers. With --margins also how far each answer was from another one: the smallest
difference, over the answer's tokens, between the log-probabilities of the token that was taken and of the next best.
Of `vllm serve` only; a cache_salt keeps its prefix cache from knowing these prompts from another asking, or the other
from these.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

START_SECONDS = 60  # for all processes to be ready

_ready: Barrier


def main() -> None:
    """Ask the first ``--limit`` items and write what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--limit", type=int, required=True)
    parser.add_argument("--max-tokens", type=int, default=8)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--in-flight", type=int, default=512, help="of all processes together (default: 512)")
    parser.add_argument("--margins", action="store_true")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    items = list(enumerate(json.loads(args.data.read_text(encoding="utf-8"))[: args.limit]))
    salt, context = secrets.token_hex(8), get_context("spawn")
    barrier = context.Barrier(args.processes)
    shares = [items[share :: args.processes] for share in range(args.processes)]
    with ProcessPoolExecutor(args.processes, context, take_barrier, (barrier,)) as pool:
        done = [pool.submit(ask_share, args, salt, share) for share in shares]
        found = [each.result() for each in done]
    answers = dict(sorted(pair for each in found for pair in each["answers"]))
    seconds = max(each["ended"] for each in found) - min(each["begun"] for each in found)
    result = {"items": len(answers), "seconds": seconds, "items_per_second": round(len(answers) / seconds, 2)}
    print(json.dumps(result))
    result["preds"] = [answer["text"] for answer in answers.values()]
    if args.margins:
        result["margins"] = [answer["margin"] for answer in answers.values()]
    args.out.write_text(json.dumps(result) + "\n", encoding="utf-8")


def take_barrier(barrier: Barrier) -> None:
    """Keep it for this process; the pool cannot send it with a task."""
    global _ready
    _ready = barrier


def ask_share(args: argparse.Namespace, salt: str, share: list[tuple[int, dict[str, str]]]) -> dict[str, Any]:
    """Ask one process's share, when all processes are ready."""
    return asyncio.run(_ask(args, salt, share))


async def _ask(args: argparse.Namespace, salt: str, share: list[tuple[int, dict[str, str]]]) -> dict[str, Any]:
    import aiohttp

    fixed = {"model": args.model, "temperature": 0, "max_tokens": args.max_tokens, "cache_salt": salt}
    if args.margins:
        fixed |= {"logprobs": True, "top_logprobs": 2}
    headers = {"Authorization": f"Bearer {os.environ['FEWSHOT_API_KEY']}"}
    answers: list[tuple[int, dict[str, Any]]] = []
    left = iter(share)

    async def worker(session: aiohttp.ClientSession) -> None:
        for index, item in left:
            messages = [
                {"role": "system", "content": item["instruction"]},
                {"role": "user", "content": item["input"]},
            ]
            async with session.post(f"{args.base_url}/chat/completions", json=fixed | {"messages": messages}) as reply:
                if reply.status != 200:
                    sys.exit(f"item {index}: HTTP {reply.status}: {(await reply.text())[:200]}")
                choice = json.loads(await reply.read())["choices"][0]
            answers.append((index, {"text": (choice["message"]["content"] or "").strip(), "margin": margin(choice)}))

    _ready.wait(START_SECONDS)
    begun = time.time()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), headers=headers) as session:
        await asyncio.gather(*(worker(session) for _ in range(max(1, args.in_flight // args.processes))))
    return {"begun": begun, "ended": time.time(), "answers": answers}


def margin(choice: dict[str, Any]) -> float | None:
    """Return the smallest distance of an answer's tokens to the next best, in nats; None when it was not asked for."""
    tokens = (choice.get("logprobs") or {}).get("content") or []
    tops = [sorted((top["logprob"] for top in token["top_logprobs"]), reverse=True) for token in tokens]
    return min((top[0] - top[1] for top in tops if len(top) > 1), default=None)


if __name__ == "__main__":
    main()
