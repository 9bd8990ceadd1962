"""A small OpenAI-compatible server for tests: it answers from a function and misbehaves on demand.

    with OpenAIServer() as server:
        server.script.extend(["500", "ok"])         # the first completion fails, the second is answered
        server.behave = lambda text: "hang" if "stuck" in text else "ok"
        ... requests to server.base_url ...
        assert server.completions == 2

What a completion gets is the next entry of ``script``; when that is used up, what ``behave`` says for its user
message. A behaviour is an HTTP status ("500", "429", "401", ...) or one of:

    ok        an answer                         empty     200 with no choices
    slow      an answer after ``release``       null      200 with ``choices: null``
    hang      nothing, until ``release``, then the connection is reset
    reset     the connection is reset           object    200 with ``{}``
    half      half of an answer's body          html      200 with a web page
    garbage   200 with bytes that are no JSON   cut       an answer that max_tokens cut off

With ``next_token`` it tells, as `vllm serve` does, the probabilities of the likeliest tokens, or (not with ``rust``) of
``logprob_token_ids``: at each position of an answer, whose tokens are then the likeliest ones up to 0, and after the
prompt of /v1/completions, which begins with what /tokenize says.

With vLLM's ``structured_outputs: {"choice": [...]}`` in a request, an answer that is none of the choices becomes the
first of them.
"""

from __future__ import annotations

import json
import math
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Request:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]  # names in lower case
    body: dict[str, Any]

    @property
    def text(self) -> str:
        """The last message: the user's."""
        return self.body["messages"][-1]["content"] if "messages" in self.body else ""


class OpenAIServer:
    """The server, on a free port of 127.0.0.1, in threads of this process. Use it as a context manager."""

    def __init__(self) -> None:
        self.answer: Callable[[str], str] = lambda text: text
        self.behave: Callable[[str], str] = lambda text: "ok"
        self.script: deque[str] = deque()
        self.error_body = "it broke"
        # Of a user message and the tokens said so far: the next one's probabilities.
        self.next_token: Callable[[str, tuple[int, ...]], dict[int, float]] | None = None
        self.rust = False  # vLLM's front end in Rust
        self.release = threading.Event()
        self.requests: list[Request] = []
        self.answered: list[str] = []  # the user messages that got a whole answer, in order
        self.in_flight = 0
        self.most_in_flight = 0
        self._changed = threading.Condition()
        self._http = _Server(("127.0.0.1", 0), _handler(self))
        self.port = self._http.server_address[1]
        self.base_url = f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> OpenAIServer:
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Let go of what hangs and close the port: later connections are refused."""
        self.release.set()
        self._http.shutdown()
        self._http.server_close()

    @property
    def completions(self) -> int:
        """How many completions were asked for."""
        return sum(request.path.endswith("/chat/completions") for request in list(self.requests))

    @property
    def asked(self) -> list[str]:
        """The user messages of all completions asked for, in order."""
        return [request.text for request in list(self.requests) if request.body]

    def wait_for(self, condition: Callable[[], bool], timeout: float = 300) -> None:
        """Block until ``condition()`` holds; it is looked at whenever a request arrives or ends."""
        with self._changed:
            assert self._changed.wait_for(condition, timeout), "the server never came to the state waited for"

    def _arrived(self, request: Request) -> str:
        with self._changed:
            self.requests.append(request)
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            self._changed.notify_all()
            return self.script.popleft() if self.script else self.behave(request.text)

    def _ended(self, answered: str | None) -> None:
        with self._changed:
            self.in_flight -= 1
            if answered is not None:
                self.answered.append(answered)
            self._changed.notify_all()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that go away are part of the tests."""


def _handler(server: OpenAIServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing."""

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.command, self.path, headers, body)
            behaviour = server._arrived(request)
            answered = None
            try:
                if self._respond(behaviour, request):
                    answered = request.text
            finally:
                server._ended(answered)

        def _respond(self, behaviour: str, request: Request) -> bool:
            """Answer as told; True when it was a whole answer."""
            if behaviour in ("slow", "hang"):
                server.release.wait()
            if behaviour in ("hang", "reset"):
                # Linger 0: the kernel sends RST instead of FIN.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                self.connection.close()
            elif behaviour.isdigit():
                message = "Invalid API key." if behaviour == "401" else server.error_body
                self._send(int(behaviour), json.dumps({"detail": message}).encode())
            elif behaviour in _BODIES:
                self._send(200, _BODIES[behaviour])
            elif request.path.endswith("/tokenize"):
                self._send(200, json.dumps({"tokens": prompt_tokens(request.text)}).encode())
            elif request.path.endswith("/v1/completions"):
                choices = continuations(server.next_token, request.body, server.rust)
                self._send(200, json.dumps({**_HEAD, "choices": choices}).encode())
            else:
                text = server.answer(request.text)
                choices = request.body.get("structured_outputs", {}).get("choice", [text])
                text = text if text in choices else choices[0]
                content = _completion(text, "length" if behaviour == "cut" else "stop")
                if server.next_token:
                    content = with_logprobs(content, server.next_token, request, server.rust)
                self._send(200, content, half=behaviour == "half")
                return behaviour != "half"
            return False

        def _send(self, status: int, content: bytes, half: bool = False) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if half else content)
            self.close_connection = self.close_connection or half

    return Handler


_BODIES = {
    "empty": b'{"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": []}',
    "null": b'{"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": null}',
    "object": b"{}",
    "garbage": b"\xff\xfe\x00 not JSON {",
    "html": b"<html><body>Bad gateway</body></html>",
}


_HEAD = {"id": "1", "created": 1, "model": "tiny"}
TEXT = 10_000  # tokens from here on are characters of a prompt


def prompt_tokens(text: str) -> list[int]:
    """Return a token for each character."""
    return [TEXT + ord(character) for character in text]


def with_logprobs(content: bytes, next_token: Any, request: Request, rust: bool) -> bytes:
    """Add the number of the prompt's tokens to an answer, and the probabilities at each position."""
    answer = json.loads(content)
    count = len(prompt_tokens(request.text))
    answer["usage"] = {"prompt_tokens": count, "completion_tokens": 1, "total_tokens": count + 1}
    if not request.body.get("logprobs"):
        return json.dumps(answer).encode()
    assert request.body["return_tokens_as_token_ids"]
    said: tuple[int, ...] = ()
    positions = []
    while not said or said[-1]:
        found = next_token(request.text, said)
        best = max(found, key=found.__getitem__)
        told = told_of(found, request.body, request.body["top_logprobs"], rust)
        top = [{"token": f"token_id:{token}", **_log(p)} for token, p in told]
        positions.append({"token": f"token_id:{best}", **_log(found[best]), "top_logprobs": top})
        said = (*said, best)
    answer["choices"][0]["logprobs"] = {"content": positions}
    return json.dumps(answer).encode()


def continuations(next_token: Any, body: dict[str, Any], rust: bool) -> list[dict[str, Any]]:
    """Return the choice of /v1/completions."""
    assert body["max_tokens"] == 1
    text = "".join(chr(token - TEXT) for token in body["prompt"] if token >= TEXT)
    found = next_token(text, tuple(token for token in body["prompt"] if token < TEXT))
    top = {f"token_id:{token}": _log(p)["logprob"] for token, p in told_of(found, body, body["logprobs"], rust)}
    logprobs = {"top_logprobs": [top], "tokens": ["x"], "token_logprobs": [-1.0], "text_offset": [0]}
    return [{"index": 0, "text": "x", "finish_reason": "length", "logprobs": logprobs}]


def told_of(found: dict[int, float], body: dict[str, Any], count: int, rust: bool) -> list[tuple[int, float]]:
    """Return the tokens that are told, with their probabilities: so many, or the likeliest and those asked for."""
    likeliest = sorted(found.items(), key=lambda each: -each[1])
    if rust or "logprob_token_ids" not in body:
        return likeliest[:count]
    return [(token, found.get(token, 0.0)) for token in dict.fromkeys([likeliest[0][0], *body["logprob_token_ids"]])]


def _log(probability: float) -> dict[str, Any]:
    return {"logprob": math.log(probability) if probability > 0 else -9999.0, "bytes": None}


def _completion(content: str, finish_reason: str) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": finish_reason}
    answer = {**_HEAD, "object": "chat.completion", "choices": [choice]}
    return json.dumps(answer).encode()
