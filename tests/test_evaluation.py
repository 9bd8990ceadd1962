"""The evaluation through a server that misbehaves: what is asked, kept, written, and how it ends."""

import asyncio
import contextlib
import errno
import io
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest
from openai_server import OpenAIServer

import eval as program
from fewshot_sft import dry_run, locks, runs
from fewshot_sft.errors import UserError
from fewshot_sft.evaluation import asking, evaluation, one, predictions, together
from fewshot_sft.evaluation.ask import ask_all
from fewshot_sft.evaluation.predictions import Prediction, PredictionLog
from fewshot_sft.evaluation.shots import choose
from fewshot_sft.jsonio import sha256_file
from fewshot_sft.outcomes import outcomes
from fewshot_sft.planning.context import context
from fewshot_sft.program import AGAIN
from fewshot_sft.progress import Progress
from fewshot_sft.provenance import versions
from fewshot_sft.serving import endpoint, ports, served_model, weights
from fewshot_sft.serving.client import Answer, ChatClient, Refused, Retry, Unanswered
from fewshot_sft.serving.server import NoServer, Server
from fewshot_sft.settings import Settings

PY = Path(__file__).resolve().parents[1] / "py"
LABELS = ["Physics", "Electricity", "Textiles; Paper"]
RUN = "tiny-llm_train_100"
KEY = "sesame-4711"


@pytest.fixture
def server():
    with OpenAIServer() as running:
        running.answer = right
        yield running


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.setenv(endpoint.API_KEY, KEY)
    # As the original sets them, and nothing listens there: whatever goes through a proxy fails.
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy", "OPENAI_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setattr(asking, "RETRY", Retry(2, 0.0))


def right(text: str) -> str:
    """The label of an item, which its text ends with."""
    return text.rpartition(" about ")[2]


def at(server: OpenAIServer) -> Server:
    """The server, which listens in this process."""
    return Server(server.base_url, os.getpid(), "the server")


class Sweep:
    """A data folder, a model and an adapter in a folder with a space in its name, and their settings."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "my sweep"
        self.data = self.folder / "data"
        self.objs = self.folder / "objs"
        self.model = self.folder / "model"
        self.adapter = self.folder / "saves/base/lora" / RUN

    @classmethod
    def make(cls, folder: Path, items: int = 6) -> "Sweep":
        """Write the inputs of an evaluation with so many items."""
        made = cls(folder)
        for path in (made.data, made.model, made.adapter):
            path.mkdir(parents=True)
        (made.model / "config.json").write_text("{}")
        (made.model / "model.safetensors").write_text("weights")
        (made.adapter / "adapter_config.json").write_text("{}")
        (made.adapter / "adapter_model.safetensors").write_text("adapter")
        (made.adapter / "training.json").write_text('{"status": "done"}')
        made.write_data(
            [
                {"instruction": "Choose.", "input": f"Document:\ntext {n} about {label}", "output": label}
                for n, label in enumerate(LABELS[index % 3] for index in range(items))
            ]
        )
        return made

    @property
    def rows(self) -> list[dict[str, str]]:
        return json.loads((self.data / "llm_test.json").read_text())

    @property
    def texts(self) -> list[str]:
        return [row["input"] for row in self.rows]

    def write_data(self, rows: list[dict[str, str]]) -> None:
        splits = {}
        for split in ("test", "valid"):
            path = self.data / f"llm_{split}.json"
            path.write_text(json.dumps(rows))
            splits[f"llm_{split}"] = {"file": path.name, "rows": len(rows), "sha256": sha256_file(path)}
        (self.data / "manifest.json").write_text(json.dumps({"labels": LABELS, "splits": splits}))

    def run(self, name: str = RUN, **changed: str) -> runs.Run:
        """Return a run of the sweep, with some settings changed, which are those of a program that is started, too."""
        folders = {f"{name.upper()}_DIR": str(self.folder / name) for name in ("data", "saves", "objs", "logs")}
        values = {"SWEEP_NAME": "tiny", "SIZES": "100", "MODEL": str(self.model), "MODEL_NAME": "base"}
        values |= {"TEMPLATE": "glm4", "SERVER": "llamafactory", "BACKEND": "huggingface", "CONCURRENCY": "2"}
        settings = Settings(values | folders | {"REQUEST_TIMEOUT": "20", "STOP_TIMEOUT": "0"} | changed)
        settings.write(self.folder / "settings.json")
        return runs.named(settings, name)

    def evaluate(self, server: OpenAIServer, name: str = RUN, how: dict | None = None, **changed: str) -> int:
        """Evaluate a run; ``how`` goes to asking.ask_missing."""
        run = self.run(name, **changed)
        return one.evaluate(run, lambda made: made.make(at(server), **(how or {})))

    def command(self, server: OpenAIServer, **changed: str) -> list[str]:
        """Return the evaluation as a program of its own."""
        self.run(**changed)
        program = ["env", f"FEWSHOT_SETTINGS={self.folder}/settings.json", sys.executable, str(PY / "eval.py")]
        return [*program, RUN, "--at", server.base_url, "--server-pid", str(os.getpid())]

    @property
    def record(self) -> dict:
        return json.loads((self.objs / f"{RUN}.json").read_text())

    @property
    def lines(self) -> list[dict]:
        return [json.loads(line) for line in (self.objs / f"{RUN}.predictions.jsonl").read_text().splitlines()]

    @property
    def names(self) -> set[str]:
        """Files in objs/ but for the lock."""
        return {str(path.relative_to(self.objs)) for path in self.objs.rglob("*") if path.is_file()} - {f".{RUN}.lock"}


@pytest.fixture
def sweep(tmp_path):
    return Sweep.make(tmp_path)


@pytest.fixture(scope="module")
def _evaluated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluated")
    with OpenAIServer() as server:
        server.answer = lambda text: "é" if "text 4" in text else right(text)
        assert Sweep.make(folder).evaluate(server, CONCURRENCY="1") == 0
    return folder


@pytest.fixture
def finished(_evaluated, tmp_path):
    """A sweep whose evaluation is done: every answer right but item 4's, which is "é"."""
    shutil.copytree(_evaluated, tmp_path, dirs_exist_ok=True)
    return Sweep(tmp_path)


def results(record: dict) -> dict:
    """What has to be the same however often, and wherever, an evaluation was interrupted."""
    varying = ("timings", "settings", "predictions", "base_model", "adapter")
    return {key: value for key, value in record.items() if key not in varying}


# --- A whole evaluation ---


def test_an_evaluation_writes_predictions_pickle_and_record(sweep, server, capsys):
    server.answer = lambda text: {"text 1": ' "Electricity"\n', "text 2": "paper"}.get(text[10:16], right(text))

    assert sweep.evaluate(server) == 0

    record = sweep.record
    assert record["schema"] == 2
    assert record["kind"] == "evaluation"
    about = ("run", "name", "model", "method", "size", "seed", "split")
    assert [record[key] for key in about] == [RUN, "tiny", "base", "lora", 100, 42, "test"]
    assert [record[key] for key in ("base_model", "adapter", "template", "backend")] == [
        str(sweep.model),
        str(sweep.adapter),
        "glm4",
        "huggingface",
    ]
    assert record["labels"] == LABELS
    assert {key: record["counts"][key] for key in ("items", "correct", "in_labels", "not_in_labels")} == {
        "items": 6,
        "correct": 4,
        "in_labels": 4,
        "not_in_labels": 2,
    }
    assert record["metrics"]["accuracy"] == pytest.approx(4 / 6)
    assert record["metrics"]["recall"] == pytest.approx((1 + 1 / 2 + 1 / 2) / 3)
    assert record["original_scoring"]["seed"] == 42
    assert record["confusion"]["columns"] == [*LABELS, "(outside the labels)"]
    assert record["confusion"]["matrix"] == [[2, 0, 0, 0], [0, 1, 0, 1], [0, 0, 1, 1]]
    assert record["not_in_labels"] == {
        "rate": 2 / 6,
        "match_without_quotes_and_case": 1,
        "samples": [{"answer": '"Electricity"', "count": 1}, {"answer": "paper", "count": 1}],
    }
    assert record["settings"]["data_sha256"] == sha256_file(sweep.data / "llm_test.json")
    assert "limit" not in record["settings"]
    assert record["timings"]["answered"] == 6
    assert record["timings"]["resumed"] == 0
    assert record["versions"]["llamafactory"]
    assert len(record["identity"]) == 64
    header, *found = sweep.lines
    assert header["kind"] == "predictions"
    assert sorted(line["index"] for line in found) == list(range(6))
    assert {(line["index"], line["pred"], line["label"]) for line in found} >= {(1, '"Electricity"', "Electricity")}
    notebook = pickle.loads((sweep.objs / f"{RUN}.pkl").read_bytes())
    assert type(notebook) is SimpleNamespace
    assert notebook.eval == record["original_scoring"]["metrics"]
    assert notebook.labels == LABELS * 2
    assert (notebook.name, notebook.in_cnt, notebook.not_in_cnt) == (RUN, 4, 2)
    listed = json.loads((sweep.objs / f"{RUN}.predictions.json").read_text(encoding="utf-8"))
    assert [each["input"] for each in listed] == sweep.texts
    assert [each["predict"] for each in listed] == notebook.preds
    assert [each["target"] for each in listed] == LABELS * 2
    assert sweep.names == {f"{RUN}.{end}" for end in ("json", "pkl", "predictions.json", "predictions.jsonl")}
    assert "size 100: accuracy 0.6667, macro F1 0.7778; 2 of 6 answers outside the labels" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "warning"),
    [
        (right, ""),
        (lambda text: " ", "\nHH:MM:SS size 100: warning: the first 3 answers are empty"),
        (
            lambda text: "Physics",
            "\nHH:MM:SS size 100: warning: the first 3 answers are all the same, the targets are not",
        ),
    ],
)
def test_the_first_answers_of_an_adapter_are_told_and_recorded_before_the_others(
    sweep, server, capsys, answer, warning
):
    server.answer = lambda text: answer(text) if int(text.split()[2]) < 3 else "other"
    server.behave = lambda text: "500" if "text 5" in text else "ok"
    assert sweep.evaluate(server) == AGAIN

    said = [answer(text).strip() for text in sweep.texts[:3]]
    check = json.loads((sweep.adapter / "training.json").read_text())["check"]
    assert check == [
        {"input": text, "answer": one, "target": label}
        for text, one, label in zip(sweep.texts, said, LABELS, strict=False)
    ]
    told = "\n".join(
        f'HH:MM:SS size 100: "Document: text {n} about {label}": the answer is "{said[n]}", the target "{label}"'
        for n, label in enumerate(LABELS)
    )
    found = re.sub(r"\d\d:\d\d:\d\d", "HH:MM:SS", capsys.readouterr().err)
    assert told + warning in found
    assert found.count("warning") == bool(warning)


def test_the_request_is_the_originals_and_carries_the_token_limit_that_the_server_reads(sweep, server):
    sweep.evaluate(server, EVAL_LIMIT="1", MAX_TOKENS="7")

    assert server.requests[0].body == {
        "model": RUN,
        "messages": [{"role": "system", "content": "Choose."}, {"role": "user", "content": sweep.texts[0]}],
        "temperature": 0,
        "max_tokens": 7,
        "stream": False,
    }
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert sweep.record["counts"]["items"] == 1
    assert sweep.record["settings"]["limit"] == 1


def test_the_validation_split_and_the_base_model_have_files_of_their_own(sweep, server):
    assert sweep.evaluate(server, "tiny-zero-shot", SPLIT="valid") == 0

    names = {path.name for path in sweep.objs.iterdir() if not path.name.startswith(".")}
    assert names == {f"tiny-zero-shot.valid.{end}" for end in ("json", "pkl", "predictions.json", "predictions.jsonl")}
    record = json.loads((sweep.objs / "tiny-zero-shot.valid.json").read_text())
    assert "adapter" not in record
    assert (record["method"], record.get("size"), record.get("seed")) == ("zero-shot", None, None)


@pytest.fixture
def shots(sweep):
    """A sweep with a tokenizer whose tokens are words, and a subset of four, two of them of one label."""
    words = {"type": "WordLevel", "unk_token": "?", "vocab": {"?": 0}}
    tokenizer = {"version": "1.0", "added_tokens": [], "pre_tokenizer": {"type": "WhitespaceSplit"}, "model": words}
    (sweep.model / "tokenizer.json").write_text(json.dumps(tokenizer))
    given = [("one of", "Physics"), ("two of", "Physics"), ("three of", "Electricity"), ("four of", "Textiles; Paper")]
    rows = [{"instruction": "Choose.", "input": text, "output": label} for text, label in given]
    (sweep.data / "llm_train_4.json").write_text(json.dumps(rows))
    return sweep


K_SHOT = "tiny-k-shot_4"
FEW = {"SIZES": "4", "METHODS": "k-shot"}


def test_k_shot_asks_the_base_model_with_examples_of_each_label_in_turn(shots, server):
    assert shots.evaluate(server, K_SHOT, EVAL_LIMIT="1", **FEW) == 0

    body = server.requests[0].body
    assert body["model"] == "tiny-zero-shot"
    assert [(each["role"], each["content"]) for each in body["messages"]] == [
        ("system", "Choose."),
        *(("user", "one of"), ("assistant", "Physics")),
        *(("user", "three of"), ("assistant", "Electricity")),
        *(("user", "four of"), ("assistant", "Textiles; Paper")),
        *(("user", "two of"), ("assistant", "Physics")),
        ("user", shots.texts[0]),
    ]
    record = json.loads((shots.objs / f"{K_SHOT}.json").read_text())
    assert (record["method"], record["size"], record["examples_in_prompt"]) == ("k-shot", 4, 4)
    assert "adapter" not in record


def test_k_shot_with_other_examples_is_another_evaluation(shots):
    before = evaluation.Evaluation(shots.run(K_SHOT, **FEW))
    path = shots.data / "llm_train_4.json"
    path.write_text(path.read_text().replace("two of", "2 of"))
    after = evaluation.Evaluation(shots.run(K_SHOT, **FEW))
    assert before._free.identity != after._free.identity


def test_k_shot_takes_as_many_examples_as_the_context_holds(shots):
    run = shots.run(K_SHOT, MAX_TOKENS="8", **FEW)
    items = evaluation.Evaluation(run).data.items

    def fit(context: int) -> int:
        (shots.model / "config.json").write_text(json.dumps({"max_position_embeddings": context}))
        return len(choose(run, items))

    most = next(context for context in range(80, 400) if not _fails(fit, context))
    counts = [fit(context) for context in range(most, most + 40)]
    assert counts[0] == 1
    assert counts[-1] == 4
    assert counts == sorted(counts)
    with pytest.raises(UserError, match=rf"k-shot, size 4: not one example fits: of the context's {most - 1} tokens "):
        fit(most - 1)


def _fails(fit, context: int) -> bool:
    try:
        fit(context)
    except UserError:
        return True
    return False


def test_k_shot_counts_by_the_models_tokenizer(shots):
    (shots.model / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"has no tokenizer\.json here to count the examples that fit"):
        evaluation.Evaluation(shots.run(K_SHOT, **FEW))


@pytest.mark.parametrize(
    ("server_args", "config", "most"),
    [
        ("", {"max_position_embeddings": 8192}, 4096),
        ("--vllm_maxlen 512", {"max_position_embeddings": 8192}, 512),
        ("--vllm_maxlen 9000", {"max_position_embeddings": 8192}, 8192),
        ("", {"n_positions": 1024}, 1024),
        ("", {"text_config": {"max_position_embeddings": 2048}}, 2048),
        ("", {"max_position_embeddings": 2048, "model_max_length": 3000}, 3000),
        ("", {"max_position_embeddings": 2048, "sliding_window": 1024}, 2048),
        ("", {"max_position_embeddings": 1024, "rope_scaling": {"type": "linear", "factor": 2.0}}, 2048),
        ("", {"max_position_embeddings": 2048, "rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, 2048),
        ("", {"max_position_embeddings": 2048, "rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, 4096),
        (
            "",
            {
                "max_position_embeddings": 3072,
                "rope_parameters": {
                    "rope_type": "yarn", "factor": 3.0, "original_max_position_embeddings": 1024, "rope_theta": 1e4
                },
            },
            3072,
        ),
        ("", {}, 4096),
    ],
)  # fmt: skip
def test_the_context_is_the_servers_or_the_models(shots, server_args, config, most):
    (shots.model / "config.json").write_text(json.dumps(config))
    assert context(shots.run(K_SHOT, SERVER_ARGS=server_args, **FEW).settings, shots.model) == most


def test_concurrency_is_bounded_and_used(tmp_path, server):
    sweep = Sweep.make(tmp_path, items=12)
    server.behave = lambda text: "slow"
    done = []
    thread = threading.Thread(
        target=lambda: done.append(sweep.evaluate(server, CONCURRENCY="4", REQUEST_TIMEOUT="300"))
    )
    thread.start()
    server.wait_for(lambda: server.in_flight == 4)
    server.release.set()
    thread.join()

    assert done == [0]
    assert server.most_in_flight == 4


def test_an_answer_that_max_tokens_cut_is_counted(sweep, server, capsys):
    server.script.append("cut")

    assert sweep.evaluate(server) == 0

    assert sweep.record["counts"]["cut_by_max_tokens"] == 1
    assert "warning: answers that MAX_TOKENS cut off: 1;" in capsys.readouterr().out


# --- Trouble with the server ---

PASSING = ("500", "502", "503", "429", "408", "garbage", "html", "object", "empty", "null", "half", "reset")


def test_what_may_pass_is_asked_again(tmp_path, server, monkeypatch):
    monkeypatch.setattr(asking, "RETRY", Retry(12, 0.0))
    sweep = Sweep.make(tmp_path, items=len(PASSING))
    server.script.extend(PASSING)

    assert sweep.evaluate(server, CONCURRENCY="1") == 0

    assert server.completions == 2 * len(PASSING)
    assert sweep.record["metrics"]["accuracy"] == 1


@pytest.mark.parametrize("status", ["400", "401", "403", "404", "422"])
def test_other_4xx_fail_at_once_and_say_what_the_server_said(sweep, server, status):
    server.error_body = "no such model\nat all"
    server.script.extend(["ok", status])

    with pytest.raises(UserError) as error:
        sweep.evaluate(server, CONCURRENCY="1")

    said = "Invalid API key." if status == "401" else r"no such model\nat all"
    assert f'size 100: the server refuses: item 1: HTTP {status}: {{"detail": "{said}"}}' in str(error.value)
    assert server.completions == 2
    assert sweep.names == {f"{RUN}.predictions.jsonl"}
    assert len(sweep.lines) == 2


def test_an_item_without_answer_means_no_metrics_and_a_rerun_asks_only_for_it(sweep, server, capsys, monkeypatch):
    monkeypatch.setenv(outcomes.FOLDER, str(sweep.folder))
    server.behave = lambda text: "500" if "text 3" in text else "ok"

    assert sweep.evaluate(server) == AGAIN

    outcome = outcomes.read(sweep.folder / outcomes.file_name("evaluation", RUN))
    assert outcome.state == "failed"
    assert outcome.reason.startswith("incomplete, 5 of 6 items answered; first error: item 3: HTTP 500: ")

    assert capsys.readouterr().err.endswith(
        "size 100: evaluation incomplete: 5 of 6 items answered, 1 not; first error: item 3: "
        f'HTTP 500: {{"detail": "it broke"}}. The answers are kept in {sweep.objs}/{RUN}.predictions.jsonl; '
        "run the same command again to go on\n"
    )
    assert server.asked.count(sweep.texts[3]) == 3
    assert sweep.names == {f"{RUN}.predictions.jsonl"}
    server.requests.clear()
    server.behave = lambda text: "ok"

    assert sweep.evaluate(server) == 0

    assert server.asked == [sweep.texts[3]]
    assert sweep.record["timings"]["resumed"] == 5
    assert sorted(line["index"] for line in sweep.lines[1:]) == list(range(6))


def test_a_dead_server_ends_the_evaluation_early(tmp_path, server, capsys):
    sweep = Sweep.make(tmp_path, items=200)
    server.behave = lambda text: "reset"

    assert sweep.evaluate(server) == AGAIN

    error = capsys.readouterr().err
    assert "0 of 200 items answered, 200 not; gave up: 8 items in a row got no answer; the last: " in error
    assert re.search(r"item \d+: no connection, or it broke: ", error)


def test_a_server_that_has_ended_is_not_asked_on(tmp_path, server, capsys):
    sweep = Sweep.make(tmp_path, items=30)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, process_group=0) as process:
        # It belongs to that process for the evaluation, and to this one for the kernel.
        handle = Server(server.base_url, process.pid, "the server")

        def behave(text: str) -> str:
            if len(server.answered) == 3:
                process.kill()
                process.wait()
            return "hang" if len(server.answered) >= 3 else "ok"

        server.behave = behave
        with mock.patch.object(ports.ServerPort, "_held", return_value=ports.held_by(os.getpgid(0))):
            assert one.evaluate(sweep.run(CONCURRENCY="1"), lambda made: made.make(handle)) == AGAIN
    assert "3 of 30 items answered, 27 not; gave up: the server has ended. " in capsys.readouterr().err


def test_what_another_program_answers_is_nothing(sweep, server, capsys):
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, process_group=0) as process:
        handle = Server(server.base_url, process.pid, "the server")
        assert one.evaluate(sweep.run(), lambda made: made.make(handle)) == AGAIN
        process.communicate()
    lost = f"the server has lost its port: another program listens on port {server.port}"
    assert lost in capsys.readouterr().err
    assert server.requests == []


def test_a_server_that_hangs_counts_as_gone(sweep, server, capsys, monkeypatch):
    server.behave = lambda text: "hang" if "text 5" in text else "ok"
    # The clock goes on when that one is asked, the last.
    clock = SimpleNamespace(monotonic=lambda: float(sweep.texts[5] in server.asked))
    monkeypatch.setattr("fewshot_sft.evaluation.ask.time", clock)

    assert sweep.evaluate(server, CONCURRENCY="1", how={"stall": 0.4}) == AGAIN

    assert "gave up: no answer to anything for 0.4 s: the server hangs" in capsys.readouterr().err
    assert len(sweep.lines) == 6


@pytest.mark.parametrize(("timeout", "stall"), [("120", 300), ("900", 1800)])
def test_a_server_may_think_as_long_as_a_request_may_take(sweep, server, monkeypatch, timeout, stall):
    stalls = []

    async def ask_all(items, ask, answered, limit, tick, stall):
        stalls.append(stall)
        return [(index, "no answer") for index, _ in items]

    monkeypatch.setattr("fewshot_sft.evaluation.asking.ask_all", ask_all)
    sweep.evaluate(server, REQUEST_TIMEOUT=timeout)
    assert stalls == [stall]


def test_a_request_without_an_answer_in_time_is_asked_again(sweep, server):
    server.script.append("hang")

    assert sweep.evaluate(server, REQUEST_TIMEOUT="5") == 0

    assert server.completions == 7


def test_a_server_that_sends_a_byte_now_and_then_times_out():
    async def drip() -> None:
        async def serve(reader, writer):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            while not writer.is_closing():
                writer.write(b" ")
                await asyncio.sleep(0.05)

        dripping = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = dripping.sockets[0].getsockname()[1]
        client = ChatClient(f"http://127.0.0.1:{port}/v1", "m", "0", max_tokens=1, timeout=0.5, retry=Retry(0))
        try:
            with pytest.raises(Unanswered, match=r"^no answer within 0\.5 s$"):
                await client.ask("system", "human")
        finally:
            await client.close()
            dripping.close()

    asyncio.run(drip())


def test_the_key_is_in_no_file_and_no_message(sweep, server, capfd):
    server.error_body = f"you sent Bearer {KEY}"
    server.behave = lambda text: "500" if "text 3" in text else "ok"
    sweep.evaluate(server)
    server.behave = lambda text: "400"
    with pytest.raises(UserError) as error:
        sweep.evaluate(server)

    told = capfd.readouterr()
    assert "you sent Bearer ***" in told.err
    assert "you sent Bearer ***" in str(error.value)
    assert KEY not in told.out + told.err + str(error.value)
    assert not any(KEY in path.read_text() for path in sweep.objs.iterdir())


def test_only_loopback_leaves_the_proxy_out(monkeypatch):
    urls = {
        "http://127.0.0.1:8000/v1": True,
        "http://127.3.2.1/v1": True,
        "http://localhost:8000/v1": True,
        "http://[::1]:8000/v1": True,
        "http://0.0.0.0:8000/v1": True,
        "http://10.0.0.1:8000/v1": False,
        "https://api.example.com/v1": False,
        "http://localhost.example.com/v1": False,
    }
    assert {url: endpoint.is_loopback(url) for url in urls} == urls


def test_another_host_is_asked_through_the_proxy(monkeypatch):
    with OpenAIServer() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        client = ChatClient("http://host.invalid/v1", "m", "0", max_tokens=1, timeout=20, retry=Retry(0))

        async def ask() -> Answer:
            try:
                return await client.ask("system", "human")
            finally:
                await client.close()

        assert asyncio.run(ask()).text == "human"
        assert proxy.requests[0].path == "http://host.invalid/v1/chat/completions"


# --- Interruptions, resume, skip ---


def test_a_finished_evaluation_is_skipped(finished, server, capsys):
    before = {path: path.stat().st_mtime_ns for path in finished.objs.iterdir() if path.suffix != ".lock"}

    assert finished.evaluate(server) == 0

    assert capsys.readouterr().out == f"size 100: already evaluated ({finished.objs}/{RUN}.json)\n"
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert server.requests == []


@pytest.mark.parametrize(
    ("training", "why"),
    [
        ('{"status": "failed", "reason": "the loss is zero"}', "its training failed: the loss is zero"),
        ('{"status": "do', "its training was interrupted"),
        (None, "it was not trained"),
    ],
)
def test_only_a_finished_training_passes_the_check(sweep, server, training, why):
    if training is None:
        shutil.rmtree(sweep.adapter)
    else:
        (sweep.adapter / "training.json").write_text(training)

    with pytest.raises(UserError) as error:
        sweep.evaluate(server)

    assert str(error.value) == f"size 100: not evaluated, {why} ({sweep.adapter}); run bin/train.sh"


@pytest.mark.parametrize("lost", [f"{RUN}.json", f"{RUN}.pkl"])
def test_lost_results_are_made_from_the_predictions_without_asking(finished, server, lost):
    before = results(finished.record)
    (finished.objs / lost).unlink()

    assert finished.evaluate(server) == 0

    assert results(finished.record) == before
    assert (finished.objs / lost).exists()
    assert server.requests == []
    assert "seconds" not in finished.record["timings"]  # nothing was measured this time


@pytest.mark.parametrize("scoring", [evaluation.SCORING, 1])
def test_another_seed_or_scoring_scores_anew_without_asking(finished, server, monkeypatch, scoring):
    mark = finished.record["identity"][:8]
    monkeypatch.setattr(evaluation, "SCORING", scoring)

    assert finished.evaluate(server, SPLIT_SEED="1" if scoring > 1 else "42") == 0

    assert finished.record["original_scoring"]["seed"] == (1 if scoring > 1 else 42)
    assert f"replaced/{RUN}.json-{mark}" in finished.names
    assert server.requests == []


def change_adapter(sweep: Sweep) -> None:
    (sweep.adapter / "adapter_model.safetensors").write_text("another")


def change_model(sweep: Sweep) -> None:
    (sweep.model / "model.safetensors").write_text("others")


def change_data(sweep: Sweep) -> None:
    sweep.write_data([sweep.rows[0] | {"input": "another about Physics"}, *sweep.rows[1:]])


@pytest.mark.parametrize(
    ("change", "changed", "what"),
    [
        (change_adapter, {}, "adapter"),
        (change_model, {}, "model"),
        (change_data, {}, "items"),
        (None, {"MAX_TOKENS": "8"}, "max_tokens"),
        (None, {"BACKEND": "vllm", "TEMPLATE": "qwen"}, "template, backend"),
        (None, {"SERVER_QUANTIZATION": "bitsandbytes"}, "quantization"),
        (None, {"SERVER_ARGS": "--quantization fp8"}, "quantization"),
        (None, {"SERVER_ARGS": "--kv-cache-dtype fp8"}, "kv_cache_dtype"),
    ],
)
def test_what_decides_the_answers_makes_the_evaluation_anew(
    finished, server, capsys, monkeypatch, change, changed, what
):
    # Whether vLLM is installed here is no matter.
    monkeypatch.setattr(served_model, "versions", lambda names: versions([name for name in names if name != "vllm"]))
    mark, record_mark = finished.lines[0]["identity"][:8], finished.record["identity"][:8]
    old = (finished.objs / f"{RUN}.predictions.jsonl").read_bytes()
    if change:
        change(finished)
    server.behave = lambda text: "ok" if "text 1" in text else "500"

    assert finished.evaluate(server, **changed) == AGAIN

    aside = f"{finished.objs}/replaced/{RUN}.predictions.jsonl-{mark}"
    assert f"made anew, for it is of another {what}; the old one is {aside}\n" in capsys.readouterr().err
    assert Path(aside).read_bytes() == old
    assert [line["index"] for line in finished.lines[1:]] == [1]
    # The old result must not pass for the new one, which does not exist yet.
    results = [f"{RUN}.{end}" for end in ("json", "pkl", "predictions.json")]
    assert not {*results} & finished.names
    assert {f"replaced/{name}-{record_mark}" for name in results} < finished.names


def test_force_asks_everything_anew_and_keeps_what_was_there(finished, server, monkeypatch):
    monkeypatch.setenv("FEWSHOT_SETTINGS", str(finished.folder / "settings.json"))
    for _ in range(2):
        server.requests.clear()
        finished.run()
        assert program.main([RUN, "--set-aside"]) == 0
        assert finished.evaluate(server) == 0
        assert sorted(server.asked) == sorted(finished.texts)

    mark = finished.lines[0]["identity"][:8]
    replaced = {name for name in finished.names if "predictions" in name and name.startswith("replaced/")}
    of_record = finished.record["identity"][:8]
    parts = (f"predictions.jsonl-{mark}", f"predictions.json-{of_record}")
    assert replaced == {f"replaced/{RUN}.{part}{end}" for part in parts for end in ("", "-2")}


def test_results_of_an_earlier_version_are_made_anew(finished, server, capsys):
    for name in (f"{RUN}.json", f"{RUN}.predictions.jsonl"):
        path = finished.objs / name
        path.write_text(path.read_text().replace('"schema": 2', '"schema": 1', 1))

    assert finished.evaluate(server) == 0

    assert sorted(server.asked) == sorted(finished.texts)
    told = capsys.readouterr().err
    for name in (f"{RUN}.json", f"{RUN}.predictions.jsonl"):
        assert f"{finished.objs}/{name}: it is of an earlier version; the old one is {finished.objs}/replaced/" in told


def test_the_dry_run_says_what_is_there_and_what_is_missing(finished, server, monkeypatch, capsys):
    def plan(**changed: str) -> tuple[int, str]:
        finished.run(**changed)
        status = program.main([RUN, "--dry-run", "--", "llamafactory-cli", "api", "--model_name_or_path", "a b"])
        return status, capsys.readouterr().out

    monkeypatch.setenv("FEWSHOT_SETTINGS", str(finished.folder / "settings.json"))
    before = finished.names
    assert plan() == (0, f"evaluation of size 100: done ({finished.objs}/{RUN}.json)\n")
    status, said = plan(MAX_TOKENS="5")
    assert (status, said.splitlines()) == (3, [
        "evaluation of size 100: to do, max_tokens changed",
        f"    env API_HOST=127.0.0.1 API_PORT=8000 API_MODEL_NAME={RUN} "
        "llamafactory-cli api --model_name_or_path 'a b'",
    ])  # fmt: skip
    assert plan(FORCE="1")[1].startswith("evaluation of size 100: to do, --force\n")
    path = finished.objs / f"{RUN}.predictions.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:5]))
    assert plan()[1].startswith("evaluation of size 100: to do, 4 of 6 items have an answer\n")
    for what, word in ((RUN, "training"), ("base model", "base model"), (f"{finished.data}/llm_test.json", "data")):
        monkeypatch.setenv(dry_run.VARIABLE, str(finished.folder / "planned"))
        (finished.folder / "planned").write_text(json.dumps(what) + "\n")
        assert plan()[1].startswith(f"evaluation of size 100: to do ({word})\n")
    assert finished.names == before
    assert server.requests == []


def test_killed_while_it_puts_the_old_result_aside_it_does_the_rest_next_time(finished, server, monkeypatch):
    mark = finished.record["identity"][:8]

    def killed(*paths: Path) -> None:
        move(*paths)
        raise KeyboardInterrupt

    move = os.replace
    monkeypatch.setattr("fewshot_sft.replaced.os.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        finished.evaluate(server, SPLIT_SEED="1")
    monkeypatch.undo()
    monkeypatch.setenv(endpoint.API_KEY, KEY)

    assert finished.evaluate(server, SPLIT_SEED="1") == 0

    assert {f"replaced/{RUN}.json-{mark}", f"replaced/{RUN}.pkl-{mark}"} < finished.names


@pytest.mark.parametrize("damage", ["torn", "whole but unended", "garbage between", "twice", "header torn"])
def test_damaged_lines_are_dropped_and_asked_again(finished, server, capsys, damage):
    path = finished.objs / f"{RUN}.predictions.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    damaged, again = {
        "torn": (b"".join(lines[:5]) + lines[5][: lines[5].index("é".encode()) + 1], [4, 5]),  # within the letter
        "whole but unended": (b"".join(lines)[:-1], [5]),
        "garbage between": (b"".join([*lines[:3], b"\x00\x00{\n", *lines[4:]]), [2]),
        "twice": (b"".join([*lines, lines[2].replace(b'"pred": "Electricity"', b'"pred": "Physics"')]), []),
        "header torn": (lines[0][:30], list(range(6))),
    }[damage]
    path.write_bytes(damaged)
    server.answer = lambda text: "é" if "text 4" in text else right(text)

    assert finished.evaluate(server, CONCURRENCY="1") == 0

    assert server.asked == [finished.texts[index] for index in again]
    found = {line["index"]: line["pred"] for line in finished.lines[1:]}
    assert found == {0: "Physics", 1: "Electricity", 2: LABELS[2], 3: "Physics", 4: "é", 5: LABELS[2]}
    assert len(finished.lines) == 7
    assert finished.record["counts"]["correct"] == 5
    assert "damaged" in capsys.readouterr().err


def test_one_evaluation_of_a_run_at_a_time(sweep, server, monkeypatch, capsys):
    monkeypatch.setattr(one, "patience", lambda run: 0.2)
    sweep.objs.mkdir()
    still = rf"^size 100: another process is still at it \(.*/\.{RUN}\.lock is locked\); wait for that one, or end it"
    with locks.hold(sweep.objs / f".{RUN}.lock", RUN, 0), pytest.raises(UserError, match=still):
        sweep.evaluate(server)

    assert "is locked); waiting up to 0.2 s" in capsys.readouterr().err
    assert server.requests == []
    assert sweep.evaluate(server) == 0


def test_a_full_disk_is_said_and_loses_only_the_line_that_did_not_fit(tmp_path):
    path = tmp_path / "predictions.jsonl"
    log = PredictionLog(path, {"kind": "predictions", "identity": "x"})
    log.append(Prediction(0, "Physics", "Physics", 0.1))
    real = log._stream
    log._stream = SimpleNamespace(write=lambda line: real.write(line[:10]))

    with pytest.raises(OSError, match=r"predictions\.jsonl") as error:
        log.append(Prediction(1, "Physics", "Physics", 0.1))

    assert error.value.errno == errno.ENOSPC
    assert list(predictions.read(path).predictions) == [0]


def test_small_probabilities_of_labels_are_kept(tmp_path):
    log = PredictionLog(tmp_path / "predictions.jsonl", {"kind": "predictions", "identity": "x"})
    log.append(Prediction(0, "Physics", "Physics", 0.1, scores=(2.00000004e-8, 1e-9, 0.12345678)))
    assert predictions.read(tmp_path / "predictions.jsonl").predictions[0].scores == (2e-8, 1e-9, 0.1234568)


# --- How many requests are under way ---


def test_concurrency_auto_is_noted_and_what_the_scores_need_is_loaded_meanwhile(tmp_path, server, monkeypatch):
    sweep = Sweep.make(tmp_path, items=60)
    server.behave = lambda text: "slow"
    loaded = threading.Event()
    monkeypatch.setattr(asking.macro, "prepare", loaded.set)

    def release() -> None:
        server.wait_for(lambda: server.in_flight == 8)
        assert loaded.wait(60)
        server.release.set()

    thread = threading.Thread(target=release)
    thread.start()
    assert sweep.evaluate(server, CONCURRENCY="auto", REQUEST_TIMEOUT="300") == 0
    thread.join()
    assert sweep.record["settings"]["concurrency"] == "auto"
    assert sweep.record["timings"]["concurrency"] == 8
    assert sweep.record["metrics"]["accuracy"] == 1


@pytest.mark.parametrize(
    ("values", "number"),
    [
        ({"CONCURRENCY": "3", "SERVER": "vllm"}, 3),
        ({"CONCURRENCY": "auto"}, 8),
        ({"CONCURRENCY": "auto", "SERVER": "vllm"}, 256),
        ({"CONCURRENCY": "auto", "SERVER": "vllm", "SIZES": "1 2 3", "SEEDS": "1 2 3"}, 1024 // 10),
    ],
)
def test_how_many_requests_are_in_flight(sweep, values, number):
    assert asking.in_flight(sweep.run("tiny-zero-shot", **values).settings) == number


# --- Bad input ---


def test_what_is_missing_is_said_before_anything_is_asked(sweep, server):
    with pytest.raises(UserError, match=r"^MODEL=\./nowhere: no such folder \(nor a name on a hub, which is OWNER"):
        sweep.evaluate(server, MODEL="./nowhere")
    with pytest.raises(UserError, match=r"/nowhere/manifest\.json: no such file$"):
        sweep.evaluate(server, DATA_DIR=str(sweep.folder / "nowhere"))
    (sweep.adapter / "adapter_model.safetensors").unlink()
    with pytest.raises(UserError, match=r": not the folder of an adapter; train it first \(bin/train\.sh\)$"):
        sweep.evaluate(server)
    assert server.requests == []


def test_damaged_data_is_said_with_its_row(sweep, server):
    test = sweep.data / "llm_test.json"
    whole = test.read_text()
    cases = {
        whole.replace('"output": "Textiles; Paper"', '"output": "Textile"', 1): f"{test}: row 3: 'Textile' is not a "
        f"label of {sweep.data}/manifest.json; build the data again with bin/build_data.sh",
        whole.replace('"input"', '"inptu"', 1): f"{test}: row 1 lacks instruction, input or output; build the data "
        "again with bin/build_data.sh",
        whole.replace("text 0", "text 9"): f"{test}: not the file that {sweep.data}/manifest.json describes "
        "(SHA-256 differs); build the data again with bin/build_data.sh",
        "[]": f"{test}: no items in it; build the data again with bin/build_data.sh",
        whole[:100]: f"{test}: line 1: not valid JSON",
    }
    for content, message in cases.items():
        test.write_text(content)
        with pytest.raises(UserError) as error:
            sweep.evaluate(server)
        assert str(error.value).startswith(message)
    assert server.requests == []


def test_large_weights_are_told_apart_by_samples(tmp_path):
    path = tmp_path / "adapter_model.safetensors"
    found = set()
    for content in (b"", b"x", b"y"):
        with path.open("wb") as stream:
            stream.truncate(weights.WHOLE + 5)
            stream.seek(weights.WHOLE + 4)
            stream.write(content)
        found.add(weights.adapter_identity(tmp_path))
    assert len(found) == 3
    assert weights.model_identity("THUDM/glm-4-9b-chat-hf") == {"hub": "THUDM/glm-4-9b-chat-hf"}


# --- Progress, patience ---


class Clock:
    """Seconds that pass when told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 100.0
        monkeypatch.setattr(time, "monotonic", lambda: self.seconds)


def test_a_log_gets_plain_lines_with_rate_and_time_left(monkeypatch):
    clock, log = Clock(monkeypatch), io.StringIO()
    progress = Progress("size 100", total=9000, done=1000, every=30, stream=log)
    for _ in range(60):
        clock.seconds += 1
        progress.advance()
    clock.seconds += 60
    progress.tick()
    progress.close()

    assert log.getvalue() == (
        "size 100: 1030/9000 answered, 1.0 items/s, 2 h 12 min left\n"
        "size 100: 1060/9000 answered, 1.0 items/s, 2 h 12 min left\n"
        "size 100: 1060/9000 answered, 0.5 items/s, 4 h 24 min left\n"
        "size 100: 1060/9000 answered, 0.5 items/s, 4 h 24 min left\n"
    )


def test_a_terminal_gets_a_bar():
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    progress = Progress("size 100", total=2, stream=terminal)
    progress.advance()
    progress.advance()
    progress.close()

    assert "size 100: 100%" in terminal.getvalue()
    assert "answered" not in terminal.getvalue()


def test_a_failing_item_among_good_ones_does_not_end_the_evaluation():
    answers = []

    async def ask(item: int) -> Answer:
        if item % 2:
            raise Unanswered("no")
        return Answer(str(item), False, 0.0)

    failures = asyncio.run(ask_all(enumerate(range(40)), ask, lambda index, answer: answers.append(index), 1))

    assert [index for index, _ in failures] == list(range(1, 40, 2))
    assert answers == list(range(0, 40, 2))


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), Refused("HTTP 400"), KeyboardInterrupt()])
def test_an_error_ends_all_requests_and_comes_out_as_it_is(error):
    ended = []

    async def ask(item: int) -> Answer:
        if item == 3:
            raise error
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append(item)
            raise
        raise AssertionError("unreachable")

    with pytest.raises(type(error)):
        asyncio.run(ask_all(enumerate(range(9)), ask, lambda *_: None, 4))

    assert sorted(ended) == [0, 1, 2]


PLAIN = ["vllm", "serve", "--seed", "1"]
IN_RUST = ["env", "VLLM_USE_BREAKABLE_CUDAGRAPH=1", "env", together.RUST, "OTHER=/", *PLAIN]


@pytest.mark.parametrize("trouble", ["it does not start", "it ends in the middle"])
@pytest.mark.parametrize(
    ("command", "then"), [(PLAIN, PLAIN), (IN_RUST, [*PLAIN, "--enforce-eager", "--generation-config", "vllm"])]
)
def test_after_the_front_end_in_rust_comes_the_one_in_python_without_graphs(
    sweep, monkeypatch, capsys, trouble, command, then
):
    run, commands = sweep.run(), list[list[str]]()

    def served(settings, command):
        commands.append(command)
        if trouble == "it does not start" and len(commands) == 1:
            raise NoServer("it did not start")
        return contextlib.nullcontext()

    monkeypatch.setattr(together, "_to_do", lambda *_: [run])
    monkeypatch.setattr(together, "served", served)
    monkeypatch.setattr(together, "_ask", lambda *_: ([run], "it ended") if len(commands) == 1 else ([], ""))
    monkeypatch.setattr(together, "_fail", lambda runs, why, failed: failed.extend(runs))
    ended = together.evaluate(run.settings, [run], command, None)
    if trouble == "it does not start" and command == PLAIN:
        assert (ended, commands) == (1, [PLAIN])
    else:
        assert (ended, commands) == (0, [command, then])
        assert (", with vLLM's front end in Python" in capsys.readouterr().err) == (command == IN_RUST)
