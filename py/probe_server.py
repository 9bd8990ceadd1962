"""Wait until a server answers a real completion: an open port and /v1/models prove nothing.

    FEWSHOT_API_KEY=... python py/probe_server.py --base-url http://127.0.0.1:8000/v1 --served-model tiny \\
        --data data/tiny --wait 600 --pid 4711 --out logs/ready.json

Exit status: 0 it answered; 1 not yet (without --wait); 2 it never will (400, 401, 404, ...: another server, a wrong
name or key); 3 the process --pid has ended; 4 --wait seconds are over.
Only light imports here: bin/eval.sh starts this for every size, and a start takes a tenth of a second.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from fewshot_sft import endpoint
from fewshot_sft.errors import UserError, run
from fewshot_sft.jsonio import read_json, write_json
from fewshot_sft.outcomes import note_reason

READY, NOT_YET, NEVER, DIED, TIME_OUT = range(5)


class NotYet(Exception):
    """No answer so far, and why."""


class Never(Exception):
    """The server answers, and refuses."""


class Server:
    """An OpenAI-compatible server, asked with the standard library only."""

    def __init__(self, base_url: str, timeout: float) -> None:
        self._base_url = base_url
        self._timeout = timeout
        self._key = endpoint.api_key()
        # Without proxies for this machine, whatever the environment says.
        proxies = [urllib.request.ProxyHandler({})] if endpoint.is_loopback(base_url) else []
        self._opener = urllib.request.build_opener(*proxies)

    def complete(self, model: str, item: dict[str, str]) -> str:
        """Return the model's answer to one item of the data.

        Raises:
            NotYet: no connection, no reply in time, 408, 429, 5xx, or something that is no completion.
            Never: any other HTTP status.
        """
        messages = [
            {"role": "system", "content": item["instruction"]},
            {"role": "user", "content": item["input"]},
        ]
        request = {"model": model, "messages": messages, "temperature": 0, "max_tokens": 8}
        found = self._call("chat/completions", request)
        try:
            return found["choices"][0]["message"]["content"] or ""
        except (TypeError, LookupError):
            raise NotYet(f"the answer is no chat completion: {self._clean(json.dumps(found))}") from None

    def models(self) -> list[str]:
        """Return the names that the server says it serves; none when it does not say."""
        try:
            return [str(model["id"]) for model in self._call("models")["data"]]
        except (NotYet, Never, TypeError, LookupError):
            return []

    def _call(self, path: str, body: dict[str, Any] | None = None) -> Any:
        content = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self._base_url}/{path}", content, headers)
        try:
            with self._opener.open(request, timeout=self._timeout) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            said = f"HTTP {error.code}: {self._clean(_body(error))}"
            passing = error.code in (408, 429) or error.code >= 500
            raise (NotYet if passing else Never)(said) from None
        except TimeoutError:
            raise NotYet(f"no answer within {self._timeout:g} s") from None
        except ValueError as error:
            raise NotYet(f"the answer is no JSON ({error})") from None
        except urllib.error.URLError as error:
            raise NotYet(self._clean(f"no connection: {error.reason}")) from None
        except (OSError, http.client.HTTPException) as error:
            raise NotYet(self._clean(f"the connection broke: {error!r}")) from None

    def _clean(self, text: str) -> str:
        return endpoint.hide_key(text, self._key)[:300]


def main(argv: list[str]) -> int:
    """Ask once, or until an answer comes; print one line and return the exit status."""
    args = parse_args(argv)
    item = first_item(args.data)
    server = Server(args.base_url, args.timeout)
    begin = time.monotonic()
    while True:
        try:
            answer = server.complete(args.served_model, item)
        except Never as error:
            return failed(NEVER, f"not the server that was expected at {args.base_url}: {error}")
        except NotYet as error:
            seconds = time.monotonic() - begin
            if args.pid is not None and not is_alive(args.pid):
                return failed(DIED, f"the server's process {args.pid} ended after {seconds:.0f} s; last: {error}")
            if args.wait is None:
                print(f"not ready: {error}")
                return NOT_YET
            if seconds + args.interval > args.wait:
                return failed(TIME_OUT, f"not ready after {seconds:.0f} s; last: {error}")
            time.sleep(args.interval)
        else:
            seconds = time.monotonic() - begin
            if args.out:
                write_json(args.out, {"seconds": round(seconds, 2), "models": server.models(), "answer": answer})
            print(f"ready after {seconds:.1f} s")
            return READY


def failed(status: int, why: str) -> int:
    """Say why the server will not answer, note it in the step's outcome, and return the exit status."""
    print(why)
    note_reason(why)
    return status


def first_item(folder: Path) -> dict[str, str]:
    """Return the first item of the test split.

    Raises:
        UserError: there is none.
    """
    path = folder / "llm_test.json"
    rows = read_json(path)
    if not isinstance(rows, list) or not rows or not {"instruction", "input"} <= rows[0].keys():
        raise UserError(f"{path}: no items in it; build the data again with bin/build_data.sh")
    return rows[0]


def is_alive(pid: int) -> bool:
    """Return whether the process runs; one that has ended and was not waited for (a zombie) does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        state = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):  # ended just now, or a system without /proc
        return not Path("/proc/self/stat").exists()
    return state not in ("Z", "X")


def _body(error: urllib.error.HTTPError) -> str:
    try:
        return error.read(2000).decode(errors="replace")
    except (OSError, http.client.HTTPException):
        return "no text"


def parse_args(argv: list[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--base-url", required=True, help="http://127.0.0.1:PORT/v1")
    add("--served-model", required=True, help="the name that the server knows the model by")
    add("--data", type=Path, required=True, help="data folder; the first item of its test split is asked")
    add("--timeout", type=float, default=10, help="seconds for one request (default: 10)")
    add("--wait", type=float, help="ask until an answer comes, for so many seconds; without it: ask once")
    add("--interval", type=float, default=0.5, help="seconds between two tries (default: 0.5)")
    add("--pid", type=int, help="the server's process: no use in waiting when it has ended")
    add("--out", type=Path, help="where to write {seconds, models, answer} as JSON when it is ready")
    args = parser.parse_args(argv)
    args.base_url = endpoint.check_url(args.base_url)
    return args


if __name__ == "__main__":
    run(main)
