"""A client process: it asks what it is told on stdin and tells the answers on stdout. askers.py starts it.

    python -m fewshot_sft.evaluation.asker

Both are JSON lines. In: first the client's settings, then ``{"number", "system", "human"}`` each. Out: first
``{"ready": true}``, then for each question, in the order of the ends, ``{"number", ...}`` with ``text``, ``cut``,
``seconds`` and ``scores``, or ``refused``, or ``unanswered``; and ``{"overloaded": S}`` for a try of ``S`` seconds that
the server turned away. The key comes from the environment. The end of stdin, which is also its parent's end, ends it at
once.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from dataclasses import asdict
from typing import Any

from ..serving import endpoint
from ..serving.client import ChatClient, ClientSettings, Refused, Unanswered

LONGEST = 2**28  # bytes of a line; a question holds a whole document


async def main() -> None:
    """Ask until stdin ends."""
    # What a library prints must not get between the answers.
    out = os.dup(1)
    os.dup2(2, 1)

    def tell(message: dict[str, Any]) -> None:
        line = json.dumps(message).encode() + b"\n"
        try:
            while line:
                line = line[os.write(out, line) :]
        except BrokenPipeError:
            os._exit(0)

    reader = asyncio.StreamReader(limit=LONGEST)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer)
    first = await reader.readline()
    if first:
        settings = ClientSettings.of(json.loads(first))
        client = settings.client(endpoint.api_key(), lambda began: tell({"overloaded": time.monotonic() - began}))
        tell({"ready": True})
        async with asyncio.TaskGroup() as questions:
            while line := await reader.readline():
                questions.create_task(_ask(client, json.loads(line), tell))
            os._exit(0)  # whatever is under way: nobody waits for it


async def _ask(client: ChatClient, question: dict[str, Any], tell: Any) -> None:
    number = question["number"]
    try:
        answer = await client.ask(question["system"], question["human"])
    except Refused as error:
        tell({"number": number, "refused": str(error)})
    except Unanswered as error:
        tell({"number": number, "unanswered": str(error)})
    else:
        tell({"number": number, **asdict(answer)})


if __name__ == "__main__":
    asyncio.run(main())
