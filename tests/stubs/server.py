"""The server of `llamafactory-cli api`, as the client sees it: /v1/models and /v1/chat/completions, with a key.

With the size `all` it is `vllm serve`: the base model, and what is loaded by /v1/load_lora_adapter; a name's last part
is its size. Its answer is the label that the document names, but for a share of documents, the smaller the larger the
size is.
A question with "stream" is answered word by word, and its messages are noted in STUB/asked.
The behaviour, its first argument:

    ok       serve                                         models    /v1/models answers, completions: 500
    wait     tell the test, wait for it, then serve        refuse    serve the probe, then 401
    die      end at once with status 1                     die=K     end with status 1 after K answers
    child    the same, but a child stays, deaf to TERM     hang=K    a name is answered K times, no more
    stubborn serve; deaf to TERM, which it tells the test  held=K    after K answers tell the test and wait for it
    deaf     wait, and stubborn                            unapplied  answer as the base model does
    cut=K    after K answers stream one word and end with status 1

    stolen=THIEF    another program has the port, our server ends for that         THIEF is what that program does:
    outrun=THIEF    the same, our server hangs on                   key    serve, but for a key that is not ours
    shared=THIEF    both listen (SO_REUSEPORT)                      open   give everyone the same answer, a label
    robbed=K        after K answers the port is an open thief's     mute   listen, and take no connection
                    and our server hangs on                         bound  not even listen

    WHAT=NUMBERS    serve, but not the completions of these numbers, counted from 0, the readiness probe's:
                    500=0-1 the first two, 429=3-4,7- the fourth, the fifth, and all from the eighth on. WHAT is
                    500 or 429, garbage (no JSON), half (a part of the body), reset (of the connection), or
                    nothing (no answer, ever)
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NoReturn

import latch

BEHAVIOUR, SIZE = sys.argv[1:3]
WHAT, _, AFTER = BEHAVIOUR.partition("=")
COUNTED = ("die", "hang", "held", "robbed")
DISTURBED = ("500", "429", "garbage", "half", "reset", "nothing")
# Of ten documents so many are answered wrongly.
WRONG = {"0": 10, "4": 6, "8": 4, "16": 2}
answered = 0
asked_by: Counter[str | None] = Counter()
counting = threading.Lock()


names = {os.environ.get("API_MODEL_NAME")}


def answer(text: str, size: str = SIZE) -> str:
    """Return the label of a document; a wrong answer is none of the labels at size 0, else another one's."""
    if WHAT == "thief":
        return "Plants"
    if (found := re.search(r"about ([^:]+):", text)) is None:
        return "Which document?"
    label = found[1]
    if hashlib.sha256(text.encode()).digest()[0] % 10 >= WRONG.get(size, 0):
        return label
    return f"I am not sure about {label}" if size == "0" else {"Animals": "Plants"}.get(label, "Animals")


def size_of(name: str) -> str:
    """Return the size in a run's name; that of the base model is 0."""
    return name.rpartition("_")[2] if "llm_train_" in name else "0"


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet

    def do_GET(self) -> None:
        if not self.has_key():
            return self.reply(401, {"detail": "Invalid API key."})
        return self.reply(200, {"data": [{"id": os.environ["API_MODEL_NAME"]}]})

    def do_POST(self) -> None:
        global answered
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with counting:
            others = answered
            answered += "messages" in body
            asked = asked_by[body.get("model")]
            asked_by[body.get("model")] += "messages" in body
        if self.path.endswith("/load_lora_adapter"):
            return self.load(body)
        if body.get("model") not in (*names, None) and SIZE == "all" and WHAT != "thief":
            return self.reply(404, {"error": f"no model {body['model']}"})
        if BEHAVIOUR == "models":
            return self.reply(500, {"error": "the adapter does not fit"})
        if not (self.has_key() or BEHAVIOUR == "thief=open") or (BEHAVIOUR == "refuse" and others):
            return self.reply(401, {"error": "no such key"})
        if WHAT in DISTURBED:
            if is_among(others, AFTER):
                return self.disturb()
        elif WHAT in COUNTED and (asked if WHAT == "hang" else others) >= int(AFTER):
            self.misbehave(others == int(AFTER))
        size = size_of(body["model"]) if SIZE == "all" else SIZE
        said = answer(body["messages"][-1]["content"], "0" if BEHAVIOUR == "unapplied" else size)
        if choices := body.get("structured_outputs", {}).get("choice"):
            said = said if said in choices else choices[0]
        if body.get("stream"):
            return self.stream(body["messages"], said)
        message = {"role": "assistant", "content": said}
        choice: dict[str, Any] = {"index": 0, "finish_reason": "stop", "message": message}
        if body.get("logprobs"):
            tokens = [[-0.25, -2.5], [-1.25, -0.5]]
            choice["logprobs"] = {"content": [{"top_logprobs": [{"logprob": top} for top in each]} for each in tokens]}
        self.reply(200, {"id": "1", "model": body.get("model"), "choices": [choice]})

    def stream(self, messages: list[dict[str, str]], said: str) -> None:
        """Note what was asked, and send a text as server-sent events; with cut=K no more than one from answer K on."""
        with (latch.FOLDER / "asked").open("a") as stream:
            print(json.dumps(messages), file=stream)
        events: list[dict[str, Any]] = [{"content": word} for word in ["\n", *re.findall(r"\S+\s*", said)]]
        cut = WHAT == "cut" and answered > int(AFTER)
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for delta in events[: 2 if cut else None]:
            choice = {"index": 0, "delta": delta, "finish_reason": None}
            chunk = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "", "choices": [choice]}
            self.chunk(f"data: {json.dumps(chunk)}\n\n")
        if cut:
            print("RuntimeError: the engine is dead", flush=True)
            os._exit(1)
        self.chunk("data: [DONE]\n\n")
        self.chunk("")

    def chunk(self, text: str) -> None:
        """Send a chunk of a body; the last is empty."""
        self.wfile.write(f"{len(text):x}\r\n{text}\r\n".encode())
        self.wfile.flush()

    def has_key(self) -> bool:
        """Return whether the request has this server's key; nothing is answered without."""
        return self.headers["Authorization"] == f"Bearer {os.environ['API_KEY']}"

    def load(self, body: dict[str, Any]) -> None:
        """Load an adapter: from now on it is asked for by its name."""
        if not self.has_key():
            return self.reply(401, {"error": "no such key"})
        if body["lora_name"] in names:
            return self.reply(400, {"error": f"The lora adapter '{body['lora_name']}' has already been loaded."})
        if not os.path.isfile(os.path.join(body["lora_path"], "adapter_model.safetensors")):
            return self.reply(404, {"error": f"no adapter found for {body['lora_path']}"})
        names.add(body["lora_name"])
        return self.reply(200, {})

    def misbehave(self, first: bool) -> None:
        """Do what is planned for after AFTER answers."""
        if WHAT == "die":
            print("RuntimeError: the engine is dead", flush=True)
            os._exit(1)
        if WHAT == "hang":
            threading.Event().wait()
        if WHAT == "robbed":
            if first:
                steal("open")
                self.server.socket.close()
            threading.Event().wait()
        if first:
            latch.wait(f"api {SIZE}")

    def disturb(self) -> None:
        """Answer as no completion server should; the connection is of no use afterwards."""
        self.close_connection = True
        if WHAT in ("500", "429"):
            return self.reply(int(WHAT), {"error": "come back later"})
        if WHAT == "nothing":
            threading.Event().wait()
        if WHAT in ("garbage", "half"):
            text = b"<html>It works!</html>" if WHAT == "garbage" else b'{"id": "1", "choices": [{"ind'
            self.send_response(200)
            self.send_header("Content-Length", str(len(text) * (1 + (WHAT == "half"))))
            self.end_headers()
            self.wfile.write(text)
            return None
        # With linger 0 the kernel sends RST; by way of the descriptor, for a socket's own close sends FIN before it.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())
        return None

    def reply(self, status: int, content: dict[str, Any]) -> None:
        """Send JSON."""
        text = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *args: object) -> None:
        """Be quiet."""


def is_among(number: int, ranges: str) -> bool:
    """Return whether a number is in ranges like ``0-1,5,7-``, whose last may have no end."""
    for each in ranges.split(","):
        first, dash, last = each.partition("-")
        if int(first) <= number and (number <= int(last or first) or (dash and not last)):
            return True
    return False


def main() -> None:
    """Behave."""
    if BEHAVIOUR == "child":
        latch.deaf_child()
    if BEHAVIOUR in ("die", "child"):
        sys.exit("ValueError: the weights are not there")
    if WHAT in ("stolen", "outrun", "shared"):
        steal(AFTER)
    if WHAT == "stolen":
        in_use()
    if WHAT == "outrun":
        latch.forever()
    if BEHAVIOUR in ("stubborn", "deaf"):
        signal.signal(signal.SIGTERM, lambda *_: latch.reached(f"api {SIZE} was told to end"))
    if BEHAVIOUR in ("wait", "deaf"):
        latch.wait(f"api {SIZE}")
    address = os.environ["API_HOST"], int(os.environ["API_PORT"])
    ThreadingHTTPServer.daemon_threads = True
    ThreadingHTTPServer.allow_reuse_port = WHAT in ("shared", "robbed", "thief")
    if WHAT == "thief" and AFTER in ("mute", "bound"):
        thief = socket.socket()
        thief.bind(address)
        if AFTER == "mute":
            thief.listen(0)
        print("ready", flush=True)
        latch.forever()
    try:
        server = ThreadingHTTPServer(address, Handler)
    except OSError:
        in_use()
    if WHAT == "thief":
        print("ready", flush=True)
    server.serve_forever()


def in_use() -> NoReturn:
    """End as uvicorn does: with the status 3."""
    print("ERROR:    [Errno 98] error while attempting to bind on address: address already in use", file=sys.stderr)
    sys.exit(3)


def steal(how: str) -> None:
    """Start a program on the port, none of the sweep's: without its mark, nor the test's; STUB/thieves has its id."""
    ours = {"MARK", "FEWSHOT_FAMILY"}
    environment = {name: value for name, value in os.environ.items() if name not in ours} | {"API_KEY": "another"}
    command = [sys.executable, __file__, f"thief={how}", SIZE]
    thief = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, start_new_session=True)
    with (latch.FOLDER / "thieves").open("a") as stream:
        stream.write(f"{thief.pid}\n")
    thief.stdout.readline()


if __name__ == "__main__":
    main()
