"""Wait until a server answers a real completion: an open port and /v1/models prove nothing.

    FEWSHOT_API_KEY=... python py/probe_server.py --base-url http://127.0.0.1:8000/v1 --served-model tiny \\
        --data data/tiny --wait 600 --pid 4711 --out logs/ready.json

With --pid nothing counts that another program answers: what listens on the port must belong to the process group of
our server.

With --probe FILE it then asks the probe set (py/fewshot_sft/serving/probe_set.py says what that is, and how far it can
be trusted) and keeps the answers in FILE; with --differs-from BASEFILE, which is such a FILE of the base model, an
adapter that is not applied is caught. --probe-done FILE needs no server: does FILE hold the answers of this base model
to this data's probe set?

Exit status: 0 it answered; 1 not yet (without --wait); 2 it never will (400, 401, 404, ...: another server, a wrong
name or key), or wrong arguments; 3 the process --pid has ended; 4 --wait seconds are over, once for the first answer
and once for the probe set (with --probe-done: there is no such FILE); 6 the adapter is not applied; 7 BASEFILE is
missing or of another model or data: nothing was asked; 8 the port is another program's (--pid).
Only light imports here: bin/eval.sh starts this for every size, and a start takes a tenth of a second.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from fewshot_sft.errors import UserError
from fewshot_sft.jsonio import read_json, write_json
from fewshot_sft.outcomes.outcomes import note_reason
from fewshot_sft.processes import is_alive
from fewshot_sft.program import run
from fewshot_sft.serving import endpoint, ports, probe_set
from fewshot_sft.serving.prompt import SERVERS, stop_token_ids

READY, NOT_YET, NEVER, DIED, TIME_OUT = range(5)
NOT_APPLIED, NO_BASE, TAKEN = 6, 7, 8
NOT_DONE = 4

T = TypeVar("T")
Messages = list[dict[str, str]]


class NotYet(Exception):
    """No answer so far, and why."""


class Never(Exception):
    """The server answers, and refuses."""


class Late(NotYet):
    """No answer in time: the server hangs, or it is only slow."""


class GaveUp(Exception):
    """No answer, and no use in asking on. ``status`` is the exit status, the message the line to print."""

    def __init__(self, status: int, line: str) -> None:
        super().__init__(line)
        self.status = status


class Server:
    """An OpenAI-compatible server, asked with the standard library only."""

    def __init__(self, base_url: str, stop: Sequence[int] = ()) -> None:
        self._base_url = base_url
        self._stop = {"stop_token_ids": list(stop)} if stop else {}
        self._key = endpoint.api_key()
        # Without proxies for this machine, whatever the environment says.
        proxies = [urllib.request.ProxyHandler({})] if endpoint.is_loopback(base_url) else []
        self._opener = urllib.request.build_opener(*proxies)

    def complete(self, model: str, messages: Messages, max_tokens: int, timeout: float) -> str:
        """Return the model's answer, which may take ``timeout`` s.

        Raises:
            NotYet: no connection, no reply in time (Late), 408, 429, 5xx, or something that is no completion.
            Never: any other HTTP status.
        """
        request = {"model": model, "messages": messages, "temperature": 0, "max_tokens": max_tokens, **self._stop}
        found = self._call("chat/completions", timeout, request)
        try:
            return found["choices"][0]["message"]["content"] or ""
        except (TypeError, LookupError):
            raise NotYet(f"the answer is no chat completion: {self._clean(json.dumps(found))}") from None

    def load_adapter(self, name: str, folder: Path, timeout: float) -> None:
        """Have `vllm serve` load an adapter, to be asked for as model ``name``.

        Raises:
            NotYet, Never: it could not.
        """
        body = {"lora_name": name, "lora_path": str(folder.resolve())}
        self._call("load_lora_adapter", timeout, body, parse=lambda response: response.read())

    def models(self, timeout: float) -> list[str]:
        """Return the names that the server says it serves; none when it does not say."""
        try:
            return [str(model["id"]) for model in self._call("models", timeout)["data"]]
        except (NotYet, Never, TypeError, LookupError):
            return []

    def _call(
        self,
        path: str,
        timeout: float,
        body: dict[str, Any] | None = None,
        parse: Callable[[Any], Any] = json.load,
    ) -> Any:
        content = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self._base_url}/{path}", content, headers)
        try:
            with self._opener.open(request, timeout=timeout) as response:
                return parse(response)
        except urllib.error.HTTPError as error:
            said = f"HTTP {error.code}: {self._clean(_body(error))}"
            passing = error.code in (408, 429) or error.code >= 500
            raise (NotYet if passing else Never)(said) from None
        except TimeoutError:
            raise Late(f"no answer within {timeout:g} s") from None
        except ValueError as error:
            raise NotYet(f"the answer is no JSON ({error})") from None
        except urllib.error.URLError as error:
            raise NotYet(self._clean(f"no connection: {error.reason}")) from None
        except (OSError, http.client.HTTPException) as error:
            raise NotYet(self._clean(f"the connection broke: {error!r}")) from None

    def _clean(self, text: str) -> str:
        return endpoint.hide_key(text, self._key)[:300]


class Asker:
    """Asks until an answer comes, as long as the arguments allow: once, or for --wait seconds while --pid lives.

    A slow server must not be taken for one that hangs, and what it is no longer waited for it may go on computing:
    each answer that does not come in time doubles the time of the next ones, up to what is left of --wait.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self._server = Server(args.base_url, stop_token_ids(args.chat_template) if args.chat_template else ())
        self._timeout: float = args.timeout
        self._port = None if args.pid is None else ports.ServerPort(endpoint.port_of(args.base_url), args.pid)
        self.begin()

    def begin(self) -> None:
        """Let the --wait seconds begin."""
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since they began."""
        return time.monotonic() - self._began

    def models(self) -> list[str]:
        """Return the names that the server says it serves; none when it does not say."""
        return self._server.models(self._args.timeout)

    def load_adapter(self, folder: Path) -> None:
        """Have the server load the adapter under the name that is asked.

        Raises:
            GaveUp: it does not.
        """
        name, server, slow = self._args.served_model, self._server, False

        def load(timeout: float) -> None:
            nonlocal slow
            try:
                server.load_adapter(name, folder, timeout)
            except Late:
                slow = True
                raise
            except Never as error:
                # It went on loading what it was no longer waited for.
                if not (slow and "already been loaded" in str(error)):
                    raise

        self._until(load, "not loaded", f"{folder} is refused")

    def ask(self, messages: Messages, max_tokens: int, missing: str, refused: str) -> str:
        """Return the answer; ``missing`` and ``refused`` begin the line that says why there is none.

        Raises:
            GaveUp: there is none.
        """
        name, server = self._args.served_model, self._server
        return self._until(lambda timeout: server.complete(name, messages, max_tokens, timeout), missing, refused)

    def _until(self, call: Callable[[float], T], missing: str, refused: str) -> T:
        args, seen, taken = self._args, False, False
        while True:
            left = (args.wait or 0) - self.seconds
            try:
                timeout = min(self._timeout, max(left, args.timeout))
                with self._ours_only():
                    return call(timeout)
            except Never as error:
                raise GaveUp(NEVER, f"{refused}: {error}") from None
            except NotYet as error:
                before, taken = taken, isinstance(error.__cause__, ports.Taken)
                seen = seen or taken
                ended = args.pid is not None and not is_alive(args.pid)
                # Seen once, it may be a socket of our own server, which closed it at that moment.
                if self._port and ((before and taken) or (ended and (seen or self._port.is_lost()))):
                    line = f"port {self._port.number} is another program's, not our server's"
                    raise GaveUp(TAKEN, line) from None
                if ended:
                    line = f"the server's process {args.pid} ended after {self.seconds:.0f} s; last: {error}"
                    raise GaveUp(DIED, line) from None
                if args.wait is None:
                    raise GaveUp(NOT_YET, f"{missing}: {error}") from None
                if self.seconds + args.interval > args.wait:
                    raise GaveUp(TIME_OUT, f"{missing} after {self.seconds:.0f} s; last: {error}") from None
                if isinstance(error, Late):
                    self._timeout *= 2
                time.sleep(args.interval)

    @contextlib.contextmanager
    def _ours_only(self) -> Iterator[None]:
        """Let nothing count that was said, be it an answer or a refusal, unless our server alone can have said it.

        Raises:
            NotYet: another may have.
        """
        try:
            if self._port:
                self._port.check()
            try:
                yield
            finally:
                if self._port:
                    self._port.check()
        except ports.NotOurs as error:
            raise NotYet(f"no connection: {error}") from error


def main(argv: list[str]) -> int:
    """Ask once, or until an answer comes, then the probe set; print a line for each and return the exit status."""
    args = parse_args(argv)
    rows = first_items(args.data)
    if args.probe_done:
        return READY if probe_answers(args, rows, args.probe_done) is not None else NOT_DONE
    base = None
    if args.differs_from and (base := probe_answers(args, rows, args.differs_from, print)) is None:
        return NO_BASE
    asker = Asker(args)
    try:
        if args.load_adapter:
            asker.load_adapter(args.load_adapter)
        answer = asker.ask(
            [{"role": "system", "content": rows[0]["instruction"]}, {"role": "user", "content": rows[0]["input"]}],
            8,
            "not ready",
            f"not the server that was expected at {args.base_url}",
        )
        seconds = asker.seconds
        if args.out:
            write_json(args.out, {"seconds": round(seconds, 2), "models": asker.models(), "answer": answer})
        print(f"ready after {seconds:.1f} s", flush=True)
        return ask_probe_set(args, asker, rows, base) if args.probe else READY
    except GaveUp as error:
        print(error)
        if error.status not in (NOT_YET, TAKEN):
            note_reason(str(error))
        return error.status


def probe_answers(
    args: argparse.Namespace, rows: list[dict[str, str]], path: Path, complain: Callable[[str], object] = lambda _: None
) -> list[str] | None:
    """Return the base model's answers that a file holds, None when they are none of this model and data."""
    identity = probe_set.identity([row["input"] for row in rows], args.model, args.template, args.backend, args.server)
    try:
        return probe_set.read_answers(path, identity, len(rows))
    except UserError as error:
        complain(f"{error}; probe the base model first, with --probe {path}")
        return None


def ask_probe_set(args: argparse.Namespace, asker: Asker, rows: list[dict[str, str]], base: list[str] | None) -> int:
    """Ask the probe set, keep the answers, compare them with the base model's if there are some.

    One that differs is enough, and the last that is asked: beside a size that is being evaluated each waits its turn,
    for seconds.

    Raises:
        GaveUp: an item got no answer; nothing is kept then.
    """
    questions = [row["input"] for row in rows]
    answers = []
    asker.begin()
    for number, question in enumerate(questions, 1):
        what = f"the probe set's item {number}"
        messages = [{"role": "user", "content": question}]
        answers.append(asker.ask(messages, probe_set.MAX_TOKENS, f"{what} has no answer", f"{what} is refused"))
        if differs := base is not None and answers[-1] != base[number - 1]:
            break
    count, seconds = len(answers), asker.seconds
    identity = probe_set.identity(questions, args.model, args.template, args.backend, args.server)
    record = probe_set.record_of(identity, args.served_model, answers, seconds)
    if base is None:
        write_json(args.probe, record)
        print(f"probe set: {count} answers in {seconds:.1f} s")
        return READY
    write_json(args.probe, record | {"differs": differs})
    if differs:
        print(f"probe set: answer {count} differs from the base model's")
        return READY
    if len(set(base)) == 1 < count:
        # A model that was hardly trained: it says the same whatever it is asked, and so may any adapter of it.
        print("probe set: it tells nothing, for the base model gives the same answer to everything")
        return READY
    why = f"all {count} answers of the probe set equal the base model's: the adapter is not applied"
    print(why)
    note_reason(why)
    return NOT_APPLIED


def first_items(folder: Path, count: int = probe_set.ITEMS) -> list[dict[str, str]]:
    """Return the first items of the test split, all there are when those are fewer.

    Raises:
        UserError: there is none, or one of them is none.
    """
    path = folder / "llm_test.json"
    rows = read_json(path)
    first = rows[:count] if isinstance(rows, list) else []
    if not first or not all(isinstance(row, dict) and {"instruction", "input"} <= row.keys() for row in first):
        raise UserError(f"{path}: no items in it; build the data again with bin/build_data.sh")
    return first


def _body(error: urllib.error.HTTPError) -> str:
    try:
        return error.read(2000).decode(errors="replace")
    except (OSError, http.client.HTTPException):
        return "no text"


def parse_args(argv: list[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--base-url", help="http://127.0.0.1:PORT/v1")
    add("--served-model", help="the name that the server knows the model by")
    add("--data", type=Path, required=True, help="data folder; the first items of its test split are asked")
    add(
        "--timeout", type=float, default=10, help="seconds for one request, more after one was not enough (default: 10)"
    )
    add("--wait", type=float, help="ask until an answer comes, for so many seconds; without it: ask once")
    add("--interval", type=float, default=0.5, help="seconds between two tries (default: 0.5)")
    add(
        "--pid",
        type=int,
        help="the server's process: no use in waiting when it has ended, none in asking another program on its port",
    )
    add("--out", type=Path, help="where to write {seconds, models, answer} as JSON when it is ready")
    add("--probe", type=Path, metavar="FILE", help="then ask the probe set and write its answers there")
    add(
        "--differs-from", type=Path, metavar="BASEFILE", help="the base model's answers, which --probe's must not equal"
    )
    add(
        "--probe-done",
        type=Path,
        metavar="FILE",
        help="no server: exit 0 when FILE is a BASEFILE that can be used, else 4",
    )
    add("--model", help="of the probe set: folder or hub name of the base model that is served")
    add("--template", help="of the probe set: chat template")
    add("--backend", choices=("huggingface", "vllm"), help="of the probe set: inference engine")
    add("--server", choices=SERVERS, default="llamafactory", help="of the probe set: whose server it is")
    add("--load-adapter", type=Path, metavar="FOLDER", help="first have `vllm serve` load it as --served-model")
    add("--chat-template", type=Path, metavar="FILE", help="of py/chat_template.py: what ends an answer")
    args = parser.parse_args(argv)
    if args.differs_from and not args.probe:
        raise UserError("--differs-from: --probe FILE is missing, where the answers that are compared go")
    if args.differs_from and args.differs_from.resolve() == args.probe.resolve():
        raise UserError(
            f"--differs-from {args.differs_from}: the same file as --probe; it would be compared with itself"
        )
    needed = [] if args.probe_done else ["base_url", "served_model"]
    if args.probe or args.probe_done:
        needed += ["model", "template", "backend"]
    for name in needed:
        if not getattr(args, name):
            raise UserError(f"--{name.replace('_', '-')} is missing; see --help")
    if args.base_url:
        args.base_url = endpoint.check_url(args.base_url)
    return args


if __name__ == "__main__":
    run(main)
