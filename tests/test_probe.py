"""Whether a server can be used: when it counts as ready, what is said where it never is, and the probe set."""
# ruff: noqa: F401, F811 - fixtures of another file

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from openai_server import OpenAIServer, prompt_tokens
from test_evaluation import KEY, RUN, Sweep, _environment, change_data, change_model, right, server, sweep

from fewshot_sft import runs
from fewshot_sft.errors import UserError
from fewshot_sft.serving import check, ports, probe, probe_set
from fewshot_sft.serving.check import NotApplied
from fewshot_sft.serving.client import Answer, ChatClient, Late
from fewshot_sft.serving.probe import NoAnswer, PortLost, Refusal


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(probe, "INTERVAL", 0.01)


@pytest.fixture
def standstill(monkeypatch):
    """The probe's clock stands still: what it says of seconds does not depend on the machine."""
    monkeypatch.setattr(probe, "monotonic", lambda: 0.0)


def usable(sweep: Sweep, server: OpenAIServer, wait: float = 20, pid: int | None = None, **more: object) -> None:
    check.check(sweep.run(), server.base_url, pid or os.getpid(), wait, **more)


# --- Ready ---


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        ("500", 'HTTP 500: {"detail": "it broke"}'),
        ("429", 'HTTP 429: {"detail": "it broke"}'),
        ("garbage", "the answer is no chat completion"),
        ("html", "the answer is no chat completion"),
        ("empty", "the answer is no chat completion"),
        ("object", "the answer is no chat completion"),
        ("half", "no connection, or it broke: "),
        ("reset", "no connection, or it broke: "),
    ],
)
@pytest.mark.usefixtures("standstill")
def test_a_server_is_ready_when_it_has_answered_a_completion(sweep, server, capsys, tmp_path, behaviour, said):
    server.behave = lambda text: behaviour
    with pytest.raises(NoAnswer) as caught:
        usable(sweep, server, wait=0)
    assert str(caught.value).startswith(f"not ready after 0 s; last: {said}")
    assert not isinstance(caught.value, Refusal)
    server.behave = lambda text: "ok"
    server.script.extend([behaviour, "reset"])
    ready = tmp_path / "ready.json"

    usable(sweep, server, ready=ready)

    assert server.completions == 4
    assert [message["content"] for message in server.requests[0].body["messages"]] == ["Choose.", sweep.texts[0]]
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert capsys.readouterr().out == "size 100: ready after 0.0 s\n"
    assert json.loads(ready.read_text()) == {"seconds": 0, "answer": "Physics"}


@pytest.mark.parametrize("status", ["400", "401", "404"])
def test_a_refusal_is_not_waited_for_to_pass(sweep, server, status):
    server.script.extend(["500", status])

    with pytest.raises(Refusal, match=rf"^not the server that was expected at {server.base_url}: HTTP {status}: "):
        usable(sweep, server)

    assert server.completions == 2


@pytest.mark.parametrize("reaped", [True, False])
@pytest.mark.usefixtures("standstill")
def test_a_server_whose_process_has_ended_is_not_waited_for(sweep, server, reaped):
    server.stop()
    process = subprocess.Popen(["true"])
    if reaped:
        process.wait()
    else:  # a zombie: it has ended, and nobody waited for it
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

    with pytest.raises(NoAnswer) as caught:
        usable(sweep, server, pid=process.pid)

    nothing = f"no connection: nothing listens on port {server.port}"
    assert str(caught.value) == f"the server's process {process.pid} ended after 0 s; last: {nothing}"
    process.wait()


@pytest.fixture
def slow(monkeypatch):
    """Let the n-th answer take so many seconds of a clock of its own; return what each request was given."""
    given: list[float] = []
    clock = 0.0

    def of(*needed: float) -> list[float]:
        left = iter(needed)

        async def ask(_: object, system: str | None, human: str, timeout: float) -> Answer:
            nonlocal clock
            given.append(timeout)
            seconds = next(left)
            clock += min(seconds, timeout)
            if seconds > timeout:
                raise Late(f"no answer within {timeout:g} s")
            return Answer("answer", False, seconds)

        monkeypatch.setattr(ChatClient, "ask", ask)
        monkeypatch.setattr(probe, "monotonic", lambda: clock)
        return given

    return of


def test_a_slow_server_gets_more_time_each_time(sweep, server, slow):
    given = slow(35, 35, 35)
    usable(sweep, server, wait=100)
    assert given == [10, 20, 40]


def test_it_gets_no_more_time_than_there_is_to_wait(sweep, server, slow):
    given = slow(500, 500, 500, 500)
    with pytest.raises(NoAnswer, match=r"^not ready after 100 s; last: no answer within 30 s$"):
        usable(sweep, server, wait=100)
    assert given == [10, 20, 40, 30]


def test_a_request_has_its_time(sweep, server, monkeypatch):
    monkeypatch.setattr(probe, "FIRST_TIMEOUT", 0.2)
    server.behave = lambda text: "hang"
    with pytest.raises(NoAnswer, match=r"^not ready after \d s; last: no answer within 0\.2 s$"):
        usable(sweep, server, wait=0.1)


# --- An adapter that is loaded ---


def load(sweep: Sweep, server: OpenAIServer, adapter: Path) -> None:
    usable(sweep, server, load=adapter)


def test_an_adapter_is_loaded_by_the_runs_name_also_when_it_is_there(sweep, server):
    server.error_body = f"The lora adapter '{RUN}' has already been loaded. If you want"
    server.script.extend(["500", "400", "ok"])

    load(sweep, server, sweep.adapter)

    paths = [request.path.rpartition("/v1")[2] for request in server.requests]
    assert paths == ["/load_lora_adapter"] * 2 + ["/chat/completions"]
    assert server.requests[0].body == {"lora_name": RUN, "lora_path": str(sweep.adapter)}


def test_an_adapter_that_is_refused_is_said(sweep, server):
    server.script.append("404")
    with pytest.raises(Refusal, match=rf"^{sweep.adapter} is refused: HTTP 404: "):
        load(sweep, server, sweep.adapter)


# --- The probe set ---


def test_a_server_that_builds_another_prompt_than_was_trained_is_not_used(sweep, server):
    server.next_token = lambda text, said: {0: 1.0}
    messages = [{"role": "system", "content": "Choose."}, {"role": "user", "content": "text one"}]
    tokens = prompt_tokens("text one")
    usable(sweep, server, prompts=[{"messages": messages, "tokens": tokens}])
    assert server.requests[-1].body == {"messages": messages, "add_generation_prompt": True}
    with pytest.raises(NoAnswer) as caught:
        usable(sweep, server, prompts=[{"messages": messages, "tokens": [*tokens, 1]}])
    assert str(caught.value) == "it builds another prompt than was trained, first for the text 'text one'"


@pytest.fixture
def probed(tmp_path):
    """A sweep with more items than are asked."""
    return Sweep.make(tmp_path, items=10)


def base_answer(text: str) -> str:
    return f"the base model on {text[-20:]}\n"


def ask_base(sweep: Sweep, server: OpenAIServer, **changed: str) -> runs.Run:
    """Let the base model answer the probe set."""
    base = sweep.run("tiny-zero-shot", **changed)
    check.check(base, server.base_url, os.getpid(), 20, asks_probe_set=True)
    return base


@pytest.fixture
def base(probed, server, capsys) -> list[str]:
    """The base model's answers."""
    server.answer = base_answer
    answers = probe_set.answers_of(ask_base(probed, server))
    capsys.readouterr()
    server.requests.clear()
    return answers


def kept(sweep: Sweep, name: str = RUN) -> dict:
    return json.loads((sweep.objs / f"{name}.probe.json").read_text())


@pytest.mark.usefixtures("standstill")
def test_the_probe_set_is_asked_as_the_users_text_alone_one_at_a_time(probed, server, capsys):
    server.answer = base_answer

    ask_base(probed, server, SPLIT="valid")

    first, *rest = [request.body for request in server.requests if request.body]
    assert len(first["messages"]) == 2
    assert [body["messages"] for body in rest] == [[{"role": "user", "content": text}] for text in probed.texts[:8]]
    asked = {(body["model"], body["temperature"], body["max_tokens"]) for body in rest}
    assert asked == {("tiny-zero-shot", 0, 16)}
    assert server.most_in_flight == 1
    record = kept(probed, "tiny-zero-shot")
    assert len(record.pop("identity")) == 64
    answers = [base_answer(text) for text in probed.texts[:8]]
    assert record == probed.run("tiny-zero-shot").head("probe answers") | {"answers": answers, "seconds": 0}
    said = "zero-shot: ready after 0.0 s\nzero-shot: probe set: 8 answers in 0.0 s\n"
    assert capsys.readouterr().out == said


def test_an_adapter_that_is_not_applied_is_caught(probed, server, base):
    with pytest.raises(
        NotApplied, match=r"^all 8 answers of the probe set equal the base model's: the adapter is not applied$"
    ):
        usable(probed, server, base=base)

    assert kept(probed)["differs"] is False


@pytest.mark.parametrize("answer", ["", "\n", "yes"])
def test_a_base_model_that_says_the_same_to_everything_tells_nothing(probed, server, capsys, answer):
    server.answer = lambda text: answer
    usable(probed, server, base=[answer] * 8)
    line = "size 100: probe set: it tells nothing, for the base model gives the same answer to everything"
    assert capsys.readouterr().out.splitlines()[1:] == [line]


@pytest.mark.parametrize("change", [str.upper, str.rstrip, lambda answer: answer.replace("model", "modèl")])
def test_one_character_tells_an_adapter_from_the_base_model(probed, server, base, capsys, change):
    server.answer = lambda text: change(base_answer(text)) if text == probed.texts[7] else base_answer(text)

    usable(probed, server, base=base)

    assert capsys.readouterr().out.splitlines()[1:] == ["size 100: probe set: answer 8 differs from the base model's"]
    assert kept(probed)["differs"] is True
    assert kept(probed)["identity"] == kept(probed, "tiny-zero-shot")["identity"]


def test_after_an_answer_that_differs_nothing_more_is_asked(probed, server, base):
    server.answer = lambda text: base_answer(text) if text == probed.texts[0] else "another"

    usable(probed, server, base=base)

    assert kept(probed)["answers"] == [base_answer(probed.texts[0]), "another"]
    asked = [request.text for request in server.requests if request.body and len(request.body["messages"]) == 1]
    assert asked == probed.texts[:2]


def test_a_test_split_of_few_items_is_asked_whole(tmp_path, server):
    sweep = Sweep.make(tmp_path, items=3)
    server.answer = base_answer
    with pytest.raises(NotApplied, match=r"^all 3 answers of the probe set equal the base model's"):
        usable(sweep, server, base=probe_set.answers_of(ask_base(sweep, server)))


def test_passing_errors_in_the_probe_set_are_asked_again(probed, server, base):
    server.answer = lambda text: "something else" if text == probed.texts[7] else base_answer(text)
    server.script.extend(["ok", "ok", "429", "ok", "500", "reset", "half", "empty"])

    usable(probed, server, base=base)

    assert server.completions == 1 + 8 + 5
    assert kept(probed)["answers"] == [*map(base_answer, probed.texts[:7]), "something else"]


def test_the_probe_set_has_its_own_time_and_what_a_slow_server_needs(probed, server, slow, capsys):
    given = slow(70, 70, 70, 70, *[12] * 8)

    usable(probed, server, wait=160, asks_probe_set=True)

    assert given == [10, 20, 40, 80, *[80] * 7, 76]
    assert capsys.readouterr().out == "size 100: ready after 140.0 s\nsize 100: probe set: 8 answers in 96.0 s\n"


@pytest.mark.parametrize(
    ("behaviour", "kind", "line"),
    [
        ("400", Refusal, "the probe set's item 3 is refused: HTTP 400: "),
        ("500", NoAnswer, "the probe set's item 3 has no answer after 0 s; last: HTTP 500: "),
    ],
)
@pytest.mark.usefixtures("standstill")
def test_a_probe_set_without_all_answers_is_not_kept(probed, server, behaviour, kind, line):
    server.script.extend(["ok"] * 3)
    server.behave = lambda text: behaviour

    with pytest.raises(NoAnswer) as caught:
        usable(probed, server, wait=0, asks_probe_set=True)

    assert type(caught.value) is kind
    assert str(caught.value).startswith(line)
    assert not (probed.objs / f"{RUN}.probe.json").exists()


# --- The base model's answers ---


def edit(change: Callable[[dict], dict]) -> Callable[[Sweep], None]:
    def apply(sweep: Sweep) -> None:
        path = sweep.objs / "tiny-zero-shot.probe.json"
        path.write_text(json.dumps(change(json.loads(path.read_text()))))

    return apply


def forget(sweep: Sweep) -> None:
    (sweep.objs / "tiny-zero-shot.probe.json").unlink()


OTHER = "answers of another model, template, backend, version or data"


@pytest.mark.parametrize(
    ("change", "changed", "why"),
    [
        (forget, {}, "no such file"),
        (edit(lambda record: {"answers": [1]}), {}, "no answers to a probe set in it"),
        (edit(lambda record: record | {"differs": True}), {}, "answers of an adapter, not of the base model"),
        (edit(lambda record: record | {"schema": 1}), {}, "it is of an earlier version"),
        (edit(lambda record: record | {"answers": record["answers"][1:]}), {}, OTHER),
        (change_model, {}, OTHER),
        (change_data, {}, OTHER),
        (None, {"TEMPLATE": "qwen"}, OTHER),
        (None, {"BACKEND": "vllm"}, OTHER),
    ],
)
@pytest.mark.usefixtures("base")
def test_only_the_base_models_own_answers_are_compared_with(probed, change, changed, why):
    assert len(probe_set.answers_of(probed.run("tiny-zero-shot"))) == 8
    if change:
        change(probed)

    with pytest.raises(UserError) as caught:
        probe_set.answers_of(probed.run("tiny-zero-shot", **changed))

    assert str(caught.value) == f"{probed.objs}/tiny-zero-shot.probe.json: {why}"


@pytest.mark.usefixtures("base")
def test_where_a_model_lies_does_not_decide_its_answers(probed):
    moved = probed.model.rename(probed.folder / "elsewhere")
    assert len(probe_set.answers_of(probed.run("tiny-zero-shot", MODEL=str(moved)))) == 8


@pytest.mark.usefixtures("base")
def test_a_missing_model_is_not_taken_for_a_missing_file(probed):
    with pytest.raises(UserError, match="no such folder"):
        probe_set.answers_of(probed.run("tiny-zero-shot", MODEL=str(probed.folder / "none")))
