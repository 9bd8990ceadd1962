"""A server that costs next to nothing: every completion is the same label, so many a second at most.

    python bench/stub_server.py --rate 1000 --latency 0.05

Prints its URL, then serves until it is ended. Requests wait in one queue: an answer comes after LATENCY seconds, or
later, when RATE answers a second are not enough for those that came before.
"""

from __future__ import annotations

import argparse
import asyncio
import json

ANSWER = json.dumps(
    {
        "id": "chatcmpl-0",
        "object": "chat.completion",
        "created": 1,
        "model": "stub",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "Physics"}, "finish_reason": "stop"},
        ],
        "usage": {"prompt_tokens": 217, "completion_tokens": 3, "total_tokens": 220},
    }
).encode()
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER)


class Server:
    """When the next request is answered."""

    def __init__(self, rate: float, latency: float) -> None:
        self._step, self._latency = 1 / rate, latency
        self._free = 0.0

    def answer(self, connection: Connection) -> None:
        """Answer when it is its turn."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._free = max(now, self._free) + self._step
        loop.call_at(max(now + self._latency, self._free), connection.respond)


class Connection(asyncio.Protocol):
    """One connection: finds the ends of requests, reads nothing else."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each whole request."""
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[:end].lower()
            length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
            if len(self._received) < end + 4 + length:
                return
            self._received = self._received[end + 4 + length :]
            self._server.answer(self)

    def respond(self) -> None:
        """Send the answer, unless the client has gone."""
        if not self._transport.is_closing():
            self._transport.write(RESPONSE)


async def main() -> None:
    """Serve on a free port of 127.0.0.1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, required=True, help="answers a second")
    parser.add_argument("--latency", type=float, required=True, help="seconds from request to answer, at least")
    args = parser.parse_args()
    server = Server(args.rate, args.latency)
    listening = await asyncio.get_running_loop().create_server(lambda: Connection(server), "127.0.0.1", 0, backlog=1024)
    print(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1", flush=True)
    await listening.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
