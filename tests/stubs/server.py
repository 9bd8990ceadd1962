"""The server of `llamafactory-cli api`, as the client sees it: /v1/models and /v1/chat/completions, with a key.

Its answer is the label that the document names, but for a share of documents, the smaller the larger the size is.
The behaviour, its first argument:

    ok       serve                                         models    /v1/models answers, completions: 500
    wait     tell the test, wait for it, then serve        refuse    serve the probe, then 401
    die      end at once with status 1                     die=K     end with status 1 after K answers
    child    the same, but a child stays, deaf to TERM     hang=K    answer nothing more after K answers
    taken    end at once, for the port is taken            held=K    after K answers tell the test and wait for it
    stubborn serve; deaf to TERM, which it tells the test
    unapplied answer as the base model does
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import latch

BEHAVIOUR, SIZE = sys.argv[1:3]
APPLIED = "0" if BEHAVIOUR == "unapplied" else SIZE
WHAT, _, AFTER = BEHAVIOUR.partition("=")
# Of ten documents so many are answered wrongly.
WRONG = {"0": 10, "4": 6, "8": 4, "16": 2}
answered = 0
counting = threading.Lock()


def answer(text: str) -> str:
    """Return the label of a document; a wrong answer is none of the labels at size 0, else another one's."""
    label = re.search(r"about ([^:]+):", text)[1]
    if hashlib.sha256(text.encode()).digest()[0] % 10 >= WRONG[APPLIED]:
        return label
    return "I am not sure" if APPLIED == "0" else {"Animals": "Plants"}.get(label, "Animals")


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet

    def do_GET(self) -> None:
        self.reply(200, {"data": [{"id": os.environ["API_MODEL_NAME"]}]})

    def do_POST(self) -> None:
        global answered
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with counting:
            answered += 1
            others = answered - 1
        if BEHAVIOUR == "models":
            return self.reply(500, {"error": "the adapter does not fit"})
        if self.headers["Authorization"] != f"Bearer {os.environ['API_KEY']}" or (BEHAVIOUR == "refuse" and others):
            return self.reply(401, {"error": "no such key"})
        if AFTER and others >= int(AFTER):
            self.misbehave(others == int(AFTER))
        message = {"role": "assistant", "content": answer(body["messages"][-1]["content"])}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        self.reply(200, {"id": "1", "model": os.environ["API_MODEL_NAME"], "choices": [choice]})

    def misbehave(self, first: bool) -> None:
        """Do what is planned for after AFTER answers."""
        if WHAT == "die":
            print("RuntimeError: the engine is dead", flush=True)
            os._exit(1)
        if WHAT == "hang":
            threading.Event().wait()
        if first:
            latch.wait(f"api {SIZE}")

    def reply(self, status: int, content: dict[str, Any]) -> None:
        """Send JSON."""
        text = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *args: object) -> None:
        """Be quiet."""


def main() -> None:
    """Behave."""
    if BEHAVIOUR == "child":
        latch.deaf_child()
    if BEHAVIOUR in ("die", "child"):
        sys.exit("ValueError: the weights are not there")
    if BEHAVIOUR == "taken":
        sys.exit("OSError: [Errno 98] error while attempting to bind: address already in use")
    if BEHAVIOUR == "stubborn":
        signal.signal(signal.SIGTERM, lambda *_: latch.reached(f"api {SIZE} was told to end"))
    if BEHAVIOUR == "wait":
        latch.wait(f"api {SIZE}")
    ThreadingHTTPServer.daemon_threads = True
    ThreadingHTTPServer((os.environ["API_HOST"], int(os.environ["API_PORT"])), Handler).serve_forever()


if __name__ == "__main__":
    main()
