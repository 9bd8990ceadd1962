"""The evaluator and the probe against a server that misbehaves: what is asked, kept, written, and how it ends."""

import asyncio
import errno
import io
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from openai_server import OpenAIServer

import infer_eval
import probe_server
from fewshot_sft.errors import UserError
from fewshot_sft.evaluation import predictions
from fewshot_sft.evaluation.ask import ask_all
from fewshot_sft.evaluation.client import Answer, ChatClient, Refused, Retry, Unanswered
from fewshot_sft.evaluation.concurrency import Fixed
from fewshot_sft.evaluation.predictions import Prediction, PredictionLog
from fewshot_sft.jsonio import sha256_file
from fewshot_sft.progress import Progress
from fewshot_sft.provenance import versions
from fewshot_sft.serving import endpoint, identity, weights

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


def right(text: str) -> str:
    """The label of an item, which its text ends with."""
    return text.rpartition(" about ")[2]


class Sweep:
    """A data folder, a model and an adapter in a folder with a space in its name, and the evaluator's command line."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "my sweep"
        self.data = self.folder / "data"
        self.objs = self.folder / "objs"
        self.model = self.folder / "model"
        self.adapter = self.folder / "adapter"

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

    def argv(self, server: OpenAIServer, *more: str) -> list[str]:
        options = {
            "run": RUN,
            "name": "tiny",
            "size": 100,
            "data": self.data,
            "base-url": server.base_url,
            "served-model": "served",
            "model": self.model,
            "adapter": self.adapter,
            "template": "glm4",
            "objs": self.objs,
            "concurrency": 2,
            "retry-wait": 0,
            "max-retries": 2,
            "request-timeout": 20,
        }
        return [part for name, value in options.items() for part in (f"--{name}", str(value))] + list(more)

    def evaluate(self, server: OpenAIServer, *more: str) -> int:
        return infer_eval.main(self.argv(server, *more))

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
        assert Sweep.make(folder).evaluate(server, "--concurrency", "1") == 0
    return folder


@pytest.fixture
def finished(_evaluated, tmp_path):
    """A sweep whose evaluation is done: every answer right but item 4's, which is "é"."""
    shutil.copytree(_evaluated, tmp_path, dirs_exist_ok=True)
    return Sweep(tmp_path)


def results(record: dict) -> dict:
    """What has to be the same however often, and wherever, an evaluation was interrupted."""
    varying = ("timings", "settings", "predictions", "model", "adapter")
    return {key: value for key, value in record.items() if key not in varying}


# --- A whole evaluation ---


def test_an_evaluation_writes_predictions_pickle_and_record(sweep, server, capsys):
    server.answer = lambda text: {"text 1": ' "Electricity"\n', "text 2": "paper"}.get(text[10:16], right(text))

    assert sweep.evaluate(server) == 0

    record = sweep.record
    assert record["schema"] == 1
    assert record["kind"] == "evaluation"
    assert [record[key] for key in ("run", "name", "size", "split")] == [RUN, "tiny", 100, "test"]
    assert [record[key] for key in ("model", "adapter", "template", "backend")] == [
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
    assert record["seed_scoring"]["seed"] == 42
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
    assert notebook.eval == record["seed_scoring"]["metrics"]
    assert notebook.labels == LABELS * 2
    assert sweep.names == {f"{RUN}.json", f"{RUN}.pkl", f"{RUN}.predictions.jsonl"}
    assert "size 100: accuracy 0.6667, macro F1 0.7778; 2 of 6 answers outside the labels" in capsys.readouterr().out


def test_the_request_is_the_seeds_and_carries_the_token_limit_that_the_server_reads(sweep, server):
    sweep.evaluate(server, "--limit", "1", "--max-tokens", "7")

    assert server.requests[0].body == {
        "model": "served",
        "messages": [{"role": "system", "content": "Choose."}, {"role": "user", "content": sweep.texts[0]}],
        "temperature": 0,
        "max_tokens": 7,
        "stream": False,
    }
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert sweep.record["counts"]["items"] == 1
    assert sweep.record["settings"]["limit"] == 1


def test_the_validation_split_and_the_base_model_have_files_of_their_own(sweep, server):
    argv = sweep.argv(server, "--split", "valid")
    at = argv.index("--adapter")
    del argv[at : at + 2]
    argv[argv.index("--run") + 1] = "tiny-llm_train_0"
    argv[argv.index("--size") + 1] = "0"

    assert infer_eval.main(argv) == 0

    names = {path.name for path in sweep.objs.iterdir() if not path.name.startswith(".")}
    assert names == {f"tiny-llm_train_0.valid.{end}" for end in ("json", "pkl", "predictions.jsonl")}
    record = json.loads((sweep.objs / "tiny-llm_train_0.valid.json").read_text())
    assert "adapter" not in record
    assert record["size"] == 0


def test_concurrency_is_bounded_and_used(tmp_path, server):
    sweep = Sweep.make(tmp_path, items=12)
    server.behave = lambda text: "slow"
    done = []
    thread = threading.Thread(target=lambda: done.append(sweep.evaluate(server, "--concurrency", "4")))
    thread.start()
    server.wait_for(lambda: server.in_flight == 4)
    server.release.set()
    thread.join(30)

    assert done == [0]
    assert server.most_in_flight == 4


def test_an_answer_that_max_tokens_cut_is_counted(sweep, server, capsys):
    server.script.append("cut")

    assert sweep.evaluate(server) == 0

    assert sweep.record["counts"]["cut_by_max_tokens"] == 1
    assert "warning: MAX_TOKENS cut off 1 answers" in capsys.readouterr().out


# --- Trouble with the server ---

PASSING = ("500", "502", "503", "429", "408", "garbage", "html", "object", "empty", "null", "half", "reset")


def test_what_may_pass_is_asked_again(tmp_path, server):
    sweep = Sweep.make(tmp_path, items=len(PASSING))
    server.script.extend(PASSING)

    assert sweep.evaluate(server, "--concurrency", "1", "--max-retries", "12") == 0

    assert server.completions == 2 * len(PASSING)
    assert sweep.record["metrics"]["accuracy"] == 1


@pytest.mark.parametrize("status", ["400", "401", "403", "404", "422"])
def test_other_4xx_fail_at_once_and_say_what_the_server_said(sweep, server, status):
    server.error_body = "no such model\nat all"
    server.script.extend(["ok", status])

    with pytest.raises(UserError) as error:
        sweep.evaluate(server, "--concurrency", "1")

    said = "Invalid API key." if status == "401" else r"no such model\nat all"
    assert f'size 100: the server refuses: item 1: HTTP {status}: {{"detail": "{said}"}}' in str(error.value)
    assert server.completions == 2
    assert sweep.names == {f"{RUN}.predictions.jsonl"}
    assert len(sweep.lines) == 2


def test_an_item_without_answer_means_no_metrics_and_a_rerun_asks_only_for_it(sweep, server, capsys):
    server.behave = lambda text: "500" if "text 3" in text else "ok"

    assert sweep.evaluate(server) == 1

    assert capsys.readouterr().err.endswith(
        "size 100: evaluation incomplete: 5 of 6 items answered, 1 not; first error: item 3: "
        f'HTTP 500: {{"detail": "it broke"}}. The answers are kept in {sweep.objs}/{RUN}.predictions.jsonl; '
        "run the same command again to go on\n"
    )
    assert server.asked.count(sweep.texts[3]) == 3  # --max-retries 2
    assert sweep.names == {f"{RUN}.predictions.jsonl"}
    server.requests.clear()
    server.behave = lambda text: "ok"

    assert sweep.evaluate(server) == 0

    assert server.asked == [sweep.texts[3]]
    assert sweep.record["timings"]["resumed"] == 5
    assert sorted(line["index"] for line in sweep.lines[1:]) == list(range(6))


def test_a_dead_server_ends_the_evaluation_early(tmp_path, server, capsys):
    sweep = Sweep.make(tmp_path, items=200)
    server.stop()

    assert sweep.evaluate(server) == 1

    error = capsys.readouterr().err
    assert "0 of 200 items answered, 200 not; gave up: 8 items in a row got no answer; the last: " in error
    assert "item 7: no connection, or it broke: [Errno 111] Connect call failed ('127.0.0.1', " in error


def test_a_server_that_dies_midway_loses_and_doubles_nothing(tmp_path, server):
    sweep = Sweep.make(tmp_path, items=60)
    undisturbed = Sweep.make(tmp_path / "undisturbed", items=60)
    assert undisturbed.evaluate(server) == 0
    server.requests.clear()
    server.answered.clear()
    server.behave = lambda text: "reset" if len(server.answered) >= 20 else "ok"

    assert sweep.evaluate(server) == 1
    assert sweep.names == {f"{RUN}.predictions.jsonl"}
    kept = {line["index"] for line in sweep.lines[1:]}
    assert 20 <= len(kept) < 30
    with OpenAIServer() as second:  # started anew: on another port
        second.answer = right
        assert sweep.evaluate(second) == 0
        assert sorted(second.asked) == sorted(text for index, text in enumerate(sweep.texts) if index not in kept)

    assert sorted(line["index"] for line in sweep.lines[1:]) == list(range(60))
    assert results(sweep.record) | {"adapter": 0, "model": 0} == results(undisturbed.record) | {
        "adapter": 0,
        "model": 0,
    }


def test_a_server_that_hangs_counts_as_gone(sweep, server, capsys):
    server.behave = lambda text: "hang" if "text 5" in text else "ok"

    assert sweep.evaluate(server, "--stall-seconds", "0.4") == 1

    assert "gave up: no answer to anything for 0.4 s: the server hangs" in capsys.readouterr().err
    assert len(sweep.lines) == 6


def test_a_request_without_an_answer_in_time_is_asked_again(sweep, server):
    server.script.append("hang")

    assert sweep.evaluate(server, "--request-timeout", "0.5") == 0

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


def test_only_check_asks_and_writes_nothing_and_needs_no_server(finished, capsys):
    def check(*more: str) -> int:
        argv = finished.argv(SimpleNamespace(base_url=""), *more)
        at = argv.index("--base-url")
        return infer_eval.main([*argv[:at], *argv[at + 2 :], "--only-check"])

    before = finished.names
    assert check() == 0
    assert capsys.readouterr().out == f"size 100: already evaluated ({finished.objs}/{RUN}.json)\n"
    assert check("--force") == 4
    assert check("--max-tokens", "5") == 4
    (finished.objs / f"{RUN}.predictions.jsonl").write_bytes(b"")
    assert check() == 4
    assert finished.names == before


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
        sweep.evaluate(server, "--only-check")

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


def test_a_damaged_record_is_made_anew(finished, server):
    whole = (finished.objs / f"{RUN}.json").read_text()
    (finished.objs / f"{RUN}.json").write_text(whole[: len(whole) // 2])

    assert finished.evaluate(server) == 0

    assert finished.record["counts"]["items"] == 6
    assert server.requests == []


@pytest.mark.parametrize("scoring", [infer_eval.SCORING, 1])
def test_another_seed_or_scoring_scores_anew_without_asking(finished, server, monkeypatch, scoring):
    mark = finished.record["identity"][:8]
    monkeypatch.setattr(infer_eval, "SCORING", scoring)

    assert finished.evaluate(server, "--seed", "1" if scoring > 1 else "42") == 0

    assert finished.record["seed_scoring"]["seed"] == (1 if scoring > 1 else 42)
    assert f"replaced/{RUN}.json-{mark}" in finished.names
    assert server.requests == []


def change_adapter(sweep: Sweep) -> None:
    (sweep.adapter / "adapter_model.safetensors").write_text("another")


def change_model(sweep: Sweep) -> None:
    (sweep.model / "model.safetensors").write_text("others")


def change_data(sweep: Sweep) -> None:
    sweep.write_data([sweep.rows[0] | {"input": "another about Physics"}, *sweep.rows[1:]])


@pytest.mark.parametrize(
    ("change", "flags", "what"),
    [
        (change_adapter, [], "adapter"),
        (change_model, [], "model"),
        (change_data, [], "items"),
        (None, ["--max-tokens", "8"], "max_tokens"),
        (None, ["--backend", "vllm", "--template", "qwen"], "template, backend"),
    ],
)
def test_what_decides_the_answers_makes_the_evaluation_anew(finished, server, capsys, monkeypatch, change, flags, what):
    # Whether vLLM is installed here is no matter.
    monkeypatch.setattr(identity, "versions", lambda names: versions([name for name in names if name != "vllm"]))
    mark, record_mark = finished.lines[0]["identity"][:8], finished.record["identity"][:8]
    old = (finished.objs / f"{RUN}.predictions.jsonl").read_bytes()
    if change:
        change(finished)
    server.behave = lambda text: "ok" if "text 1" in text else "500"

    assert finished.evaluate(server, *flags) == 1

    aside = f"{finished.objs}/replaced/{RUN}.predictions.jsonl-{mark}"
    assert f"made anew, for it is of another {what}; the old one is {aside}\n" in capsys.readouterr().err
    assert Path(aside).read_bytes() == old
    assert [line["index"] for line in finished.lines[1:]] == [1]
    # The old result must not pass for the new one, which does not exist yet.
    assert not {f"{RUN}.json", f"{RUN}.pkl"} & finished.names
    assert {f"replaced/{RUN}.json-{record_mark}", f"replaced/{RUN}.pkl-{record_mark}"} < finished.names


def test_force_asks_everything_anew_and_keeps_what_was_there(finished, server):
    for _ in range(2):
        server.requests.clear()
        assert finished.evaluate(server, "--force") == 0
        assert sorted(server.asked) == sorted(finished.texts)

    mark = finished.lines[0]["identity"][:8]
    replaced = {name for name in finished.names if "predictions" in name and name.startswith("replaced/")}
    assert replaced == {f"replaced/{RUN}.predictions.jsonl-{mark}{end}" for end in ("", "-2")}


def test_killed_while_it_puts_the_old_result_aside_it_does_the_rest_next_time(finished, server, monkeypatch):
    mark = finished.record["identity"][:8]

    def killed(*paths: Path) -> None:
        move(*paths)
        raise KeyboardInterrupt

    move = os.replace
    monkeypatch.setattr("fewshot_sft.replaced.os.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        finished.evaluate(server, "--seed", "1")
    monkeypatch.undo()
    monkeypatch.setenv(endpoint.API_KEY, KEY)

    assert finished.evaluate(server, "--seed", "1") == 0

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

    assert finished.evaluate(server, "--concurrency", "1") == 0

    assert server.asked == [finished.texts[index] for index in again]
    found = {line["index"]: line["pred"] for line in finished.lines[1:]}
    assert found == {0: "Physics", 1: "Electricity", 2: LABELS[2], 3: "Physics", 4: "é", 5: LABELS[2]}
    assert len(finished.lines) == 7
    assert finished.record["counts"]["correct"] == 5
    assert "damaged" in capsys.readouterr().err


def test_predictions_that_lack_items_are_completed_whatever_the_record_says(finished, server):
    path = finished.objs / f"{RUN}.predictions.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:5]))

    assert finished.evaluate(server, "--concurrency", "1") == 0

    assert server.asked == finished.texts[4:]
    assert finished.record["timings"]["resumed"] == 4
    assert finished.record["counts"]["correct"] == 6


def test_a_killed_evaluation_goes_on_where_it_was(tmp_path, server):
    sweep = Sweep.make(tmp_path, items=30)
    server.behave = lambda text: "hang" if server.completions > 10 else "ok"
    process = subprocess.Popen([sys.executable, PY / "infer_eval.py", *sweep.argv(server)])
    server.wait_for(lambda: len(server.answered) == 10 and server.in_flight == 2)
    process.kill()
    assert process.wait(20) == -signal.SIGKILL
    kept = {line["index"] for line in sweep.lines[1:]}
    assert sweep.names == {f"{RUN}.predictions.jsonl"}
    server.release.set()
    server.behave = lambda text: "ok"
    server.requests.clear()

    assert sweep.evaluate(server) == 0

    assert sorted(server.asked) == sorted(text for index, text in enumerate(sweep.texts) if index not in kept)
    assert len(kept) >= 8  # at most the two that were under way when it died
    assert sorted(line["index"] for line in sweep.lines[1:]) == list(range(30))
    assert sweep.record["metrics"]["accuracy"] == 1


def test_an_interrupt_ends_at_once_with_130_and_keeps_the_answers(sweep, server):
    server.behave = lambda text: "hang" if "text 5" in text else "ok"
    # One at a time: when item 5 is asked, what came before is written.
    command = [sys.executable, PY / "infer_eval.py", *sweep.argv(server, "--concurrency", "1")]
    # With the dead proxies of `_environment`, and a home that cannot be: for real, in a process of its own.
    process = subprocess.Popen(command, env=os.environ | {"HOME": "/dev/null/home"}, stderr=-1, text=True)
    server.wait_for(lambda: len(server.answered) == 5 and server.in_flight == 1)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=300)

    assert process.returncode == 130
    assert "Traceback" not in error
    assert len(sweep.lines) == 6
    assert sweep.names == {f"{RUN}.predictions.jsonl"}


def test_one_evaluation_of_a_run_at_a_time(sweep, server):
    sweep.objs.mkdir()
    with (
        infer_eval.only_one(sweep.objs / f".{RUN}.lock", RUN),
        pytest.raises(UserError, match=f"^{RUN} is being evaluated by another process"),
    ):
        sweep.evaluate(server)

    assert server.requests == []
    assert sweep.evaluate(server) == 0


def test_a_full_disk_is_said_and_loses_only_the_line_that_did_not_fit(tmp_path):
    path = tmp_path / "predictions.jsonl"
    log = PredictionLog(path, {"identity": "x"})
    log.append(Prediction(0, "Physics", "Physics", 0.1))
    real = log._stream
    log._stream = SimpleNamespace(write=lambda line: real.write(line[:10]))

    with pytest.raises(OSError, match=r"predictions\.jsonl") as error:
        log.append(Prediction(1, "Physics", "Physics", 0.1))

    assert error.value.errno == errno.ENOSPC
    assert list(predictions.read(path).predictions) == [0]


# --- Bad input ---


def test_bad_flags_are_said_before_anything_is_asked(sweep, server):
    cases = {
        ("--base-url", ""): "--base-url is missing: the server's address, like http://127.0.0.1:8000/v1",
        ("--size", "50"): "--run tiny-llm_train_100: tiny-llm_train_50 is expected of --name and --size",
        ("--concurrency", "0"): "--concurrency 0: 1 is the least",
        ("--limit", "0"): "--limit 0: 1 is the least",
        ("--request-timeout", "0"): "--request-timeout 0: more than 0 seconds is needed",
        ("--request-timeout", "nan"): "--request-timeout nan: more than 0 seconds is needed",
        ("--base-url", "127.0.0.1:8000"): "127.0.0.1:8000: not a URL; something like "
        "http://127.0.0.1:8000/v1 is expected",
        (
            "--adapter",
            str(sweep.folder),
        ): f"{sweep.folder}: not the folder of an adapter; train it first (bin/train.sh)",
        ("--model", "./nowhere"): "--model ./nowhere: no such folder (nor a name on a hub, which is OWNER/NAME)",
        ("--data", str(sweep.folder)): f"{sweep.folder}/manifest.json: no such file",
    }
    for flags, message in cases.items():
        with pytest.raises(UserError) as error:
            sweep.evaluate(server, *flags)
        assert str(error.value) == message
    assert server.requests == []
    assert not sweep.objs.exists()


def test_a_trained_size_needs_its_adapter_and_the_base_has_none(sweep, server):
    argv = sweep.argv(server)
    at = argv.index("--adapter")
    without = argv[:at] + argv[at + 2 :]
    with pytest.raises(UserError, match=r"^--adapter is missing: size 100 is a trained one"):
        infer_eval.main(without)
    with pytest.raises(UserError, match=r"^--adapter: size 0 is the base model without adapter"):
        infer_eval.main([*argv, "--run", "tiny-llm_train_0", "--size", "0"])


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

    failures = asyncio.run(ask_all(enumerate(range(40)), ask, lambda index, answer: answers.append(index), Fixed(1)))

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
        asyncio.run(ask_all(enumerate(range(9)), ask, lambda *_: None, Fixed(4)))

    assert sorted(ended) == [0, 1, 2]


# --- The probe ---


@pytest.fixture
def standstill(monkeypatch):
    """The probe's clock stands still: what it says of seconds does not depend on the machine."""
    monkeypatch.setattr(probe_server.time, "monotonic", lambda: 0.0)


def probe(sweep: Sweep, server: OpenAIServer, *more: str) -> int:
    return probe_server.main(
        ["--base-url", server.base_url, "--served-model", "served", "--data", str(sweep.data), "--interval", "0", *more]
    )


@pytest.mark.parametrize(
    ("behaviour", "status", "line"),
    [
        ("ok", 0, "ready after 0.0 s"),
        ("500", 1, 'not ready: HTTP 500: {"detail": "it broke"}'),
        ("429", 1, 'not ready: HTTP 429: {"detail": "it broke"}'),
        ("garbage", 1, "not ready: the answer is no JSON"),
        ("html", 1, "not ready: the answer is no JSON"),
        ("empty", 1, "not ready: the answer is no chat completion: "),
        ("object", 1, "not ready: the answer is no chat completion: {}"),
        ("half", 1, "not ready: the connection broke: IncompleteRead"),
        ("reset", 1, "not ready: the connection broke: ConnectionResetError"),
        ("400", 2, "not the server that was expected at "),
        ("401", 2, "not the server that was expected at "),
        ("404", 2, "not the server that was expected at "),
    ],
)
@pytest.mark.usefixtures("standstill")
def test_the_probe_asks_one_completion_and_says_how_it_went(sweep, server, capsys, behaviour, status, line):
    server.behave = lambda text: behaviour

    assert probe(sweep, server) == status

    out = capsys.readouterr().out
    assert out.startswith(line)
    assert out.count("\n") == 1
    assert server.completions == 1
    assert server.requests[0].body["messages"][1]["content"] == sweep.texts[0]
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"


def test_the_probe_does_not_believe_an_open_port_or_the_list_of_models(sweep, server, capsys):
    server.behave = lambda text: "500"

    assert probe(sweep, server, "--wait", "0.2") == 4

    assert 'last: HTTP 500: {"detail": "it broke"}' in capsys.readouterr().out
    assert server.completions > 1


def test_the_probe_waits_until_an_answer_comes(sweep, server, tmp_path):
    server.script.extend(["500", "reset", "empty"])
    out = tmp_path / "ready.json"

    assert probe(sweep, server, "--wait", "20", "--pid", str(os.getpid()), "--out", str(out)) == 0

    assert server.completions == 4
    found = json.loads(out.read_text())
    assert found["models"] == ["tiny"]
    assert found["answer"] == "Physics"
    assert 0 <= found["seconds"] < 20


@pytest.mark.usefixtures("standstill")
@pytest.mark.parametrize(("first", "status"), [(probe_server.Late, 0), (probe_server.NotYet, 2)])
def test_an_adapter_that_was_still_being_loaded_is_loaded(sweep, server, monkeypatch, first, status):
    said = "HTTP 400: The lora adapter 'tiny' has already been loaded. If you want"
    errors = [first("no answer within 10 s"), probe_server.Never(said)]

    def load(self: object, name: str, folder: Path, timeout: float) -> None:
        raise errors.pop(0)

    monkeypatch.setattr(probe_server.Server, "load_adapter", load)
    assert probe(sweep, server, "--wait", "20", "--load-adapter", str(sweep.data)) == status
    assert not errors


def test_the_probe_does_not_wait_for_a_refusal_to_pass(sweep, server):
    server.script.extend(["500", "401"])

    assert probe(sweep, server, "--wait", "20") == 2

    assert server.completions == 2


@pytest.mark.parametrize("reaped", [True, False])
def test_the_probe_sees_that_the_servers_process_has_ended(sweep, server, capsys, reaped):
    server.stop()
    process = subprocess.Popen(["true"])
    if reaped:
        process.wait()
    else:  # a zombie: it has ended, and nobody waited for it
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

    assert probe(sweep, server, "--wait", "20", "--pid", str(process.pid)) == 3

    assert f"the server's process {process.pid} ended after 0 s; last: no connection: " in capsys.readouterr().out
    process.wait()


def test_the_probe_gives_a_request_its_time(sweep, server, capsys):
    server.behave = lambda text: "hang"

    assert probe(sweep, server, "--timeout", "0.2") == 1

    assert capsys.readouterr().out == "not ready: no answer within 0.2 s\n"


@pytest.fixture
def slow(monkeypatch):
    """Let the n-th answer take so many seconds of a clock of its own; return what each request was given."""
    given: list[float] = []
    clock = 0.0

    def of(*needed: float) -> list[float]:
        left = iter(needed)

        def complete(_: object, model: str, messages: object, max_tokens: int, timeout: float) -> str:
            nonlocal clock
            given.append(timeout)
            seconds = next(left)
            clock += min(seconds, timeout)
            if seconds > timeout:
                raise probe_server.Late(f"no answer within {timeout:g} s")
            return "answer"

        monkeypatch.setattr(probe_server.Server, "complete", complete)
        monkeypatch.setattr(probe_server.time, "monotonic", lambda: clock)
        return given

    return of


def test_the_probe_gives_a_slow_server_more_time_each_time(sweep, server, slow):
    given = slow(35, 35, 35)

    assert probe(sweep, server, "--wait", "100") == 0

    assert given == [10, 20, 40]


def test_the_probe_gives_no_more_time_than_it_is_to_wait(sweep, server, slow, capsys):
    given = slow(500, 500, 500, 500)

    assert probe(sweep, server, "--wait", "100", "--interval", "1") == 4

    assert given == [10, 20, 40, 30]
    assert capsys.readouterr().out == "not ready after 100 s; last: no answer within 30 s\n"


def test_the_probe_starts_fast(sweep, server):
    # What its start costs is its imports; seconds would depend on the machine.
    code = "import sys, probe_server; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=PY, capture_output=True, text=True, check=True, timeout=300)

    heavy = {"langchain_openai", "langchain_core", "openai", "tenacity", "numpy", "torch", "asyncio", "subprocess"}
    assert heavy.isdisjoint(done.stdout.split())


# --- The probe set ---


@pytest.fixture
def probed(tmp_path):
    """A sweep with more items than are asked, and a folder for the answers."""
    return Sweep.make(tmp_path, items=10)


def base_answer(text: str) -> str:
    return f"the base model on {text[-20:]}\n"


def probe_set(sweep: Sweep, server: OpenAIServer, file: str, *more: str, wait: str = "20") -> int:
    serving_flags = ["--model", str(sweep.model), "--template", "glm4", "--backend", "huggingface"]
    return probe(sweep, server, "--wait", wait, *serving_flags, "--probe", str(sweep.folder / file), *more)


@pytest.fixture
def base(probed, server, capsys) -> Path:
    """The base model's answers."""
    server.answer = base_answer
    assert probe_set(probed, server, "base.json") == 0
    capsys.readouterr()
    server.requests.clear()
    return probed.folder / "base.json"


@pytest.mark.usefixtures("standstill")
def test_the_probe_set_is_asked_as_the_users_text_alone_one_at_a_time(probed, server, capsys):
    server.answer = base_answer

    assert probe_set(probed, server, "base.json") == 0

    first, *rest = [request.body for request in server.requests if request.body]
    assert len(first["messages"]) == 2
    assert [body["messages"] for body in rest] == [[{"role": "user", "content": text}] for text in probed.texts[:8]]
    assert {(body["model"], body["temperature"], body["max_tokens"]) for body in rest} == {("served", 0, 16)}
    assert server.most_in_flight == 1
    record = json.loads((probed.folder / "base.json").read_text())
    assert len(record.pop("identity")) == 64
    assert 0 <= record.pop("seconds") < 20
    assert record == {
        "schema": 1,
        "kind": "probe answers",
        "model": "served",
        "answers": [base_answer(text) for text in probed.texts[:8]],
    }
    assert capsys.readouterr().out == "ready after 0.0 s\nprobe set: 8 answers in 0.0 s\n"


def test_an_adapter_that_is_not_applied_is_caught(probed, server, base, capsys):
    server.answer = base_answer
    assert probe_set(probed, server, "base.json") == 0
    capsys.readouterr()

    assert probe_set(probed, server, "run.json", "--differs-from", str(base)) == 6

    line = "all 8 answers of the probe set equal the base model's: the adapter is not applied"
    assert capsys.readouterr().out.splitlines()[1:] == [line]
    assert json.loads((probed.folder / "run.json").read_text())["differs"] is False


@pytest.mark.parametrize("answer", ["", "\n", "yes"])
def test_a_base_model_that_says_the_same_to_everything_tells_nothing(probed, server, base, capsys, answer):
    server.answer = lambda text: answer
    assert probe_set(probed, server, "base.json") == 0
    capsys.readouterr()
    assert probe_set(probed, server, "run.json", "--differs-from", str(base)) == 0
    line = "probe set: it tells nothing, for the base model gives the same answer to everything"
    assert capsys.readouterr().out.splitlines()[1:] == [line]


@pytest.mark.parametrize("change", [str.upper, str.rstrip, lambda answer: answer.replace("model", "modèl")])
def test_one_character_tells_an_adapter_from_the_base_model(probed, server, base, capsys, change):
    server.answer = lambda text: change(base_answer(text)) if text == probed.texts[7] else base_answer(text)

    assert probe_set(probed, server, "run.json", "--differs-from", str(base)) == 0

    assert capsys.readouterr().out.splitlines()[1:] == ["probe set: answer 8 differs from the base model's"]
    record = json.loads((probed.folder / "run.json").read_text())
    assert record["differs"] is True
    assert record["identity"] == json.loads(base.read_text())["identity"]


def test_after_an_answer_that_differs_nothing_more_is_asked(probed, server, base, capsys):
    server.answer = lambda text: base_answer(text) if text == probed.texts[0] else "another"
    server.requests.clear()

    assert probe_set(probed, server, "run.json", "--differs-from", str(base)) == 0

    assert capsys.readouterr().out.splitlines()[1:] == ["probe set: answer 2 differs from the base model's"]
    assert json.loads((probed.folder / "run.json").read_text())["answers"] == [base_answer(probed.texts[0]), "another"]
    asked = [request.text for request in server.requests if request.body and len(request.body["messages"]) == 1]
    assert asked == probed.texts[:2]


def test_a_test_split_of_few_items_is_asked_whole(tmp_path, server, capsys):
    sweep = Sweep.make(tmp_path, items=3)
    assert probe_set(sweep, server, "base.json") == 0
    assert probe_set(sweep, server, "run.json", "--differs-from", str(sweep.folder / "base.json")) == 6
    assert "all 3 answers of the probe set equal the base model's" in capsys.readouterr().out


def test_passing_errors_in_the_probe_set_are_asked_again(probed, server, base):
    server.answer = lambda text: "something else" if text == probed.texts[7] else base_answer(text)
    server.script.extend(["ok", "ok", "429", "ok", "500", "reset", "half", "empty"])

    assert probe_set(probed, server, "run.json", "--differs-from", str(base)) == 0

    assert server.completions == 1 + 8 + 5
    expected = [*map(base_answer, probed.texts[:7]), "something else"]
    assert json.loads((probed.folder / "run.json").read_text())["answers"] == expected


def test_the_probe_set_has_its_own_time_and_what_a_slow_server_needs(probed, server, slow, capsys):
    given = slow(70, 70, 70, 70, *[12] * 8)

    assert probe_set(probed, server, "base.json", wait="160") == 0

    assert given == [10, 20, 40, 80, *[80] * 7, 76]
    assert capsys.readouterr().out == "ready after 140.0 s\nprobe set: 8 answers in 96.0 s\n"


@pytest.mark.parametrize(
    ("behaviour", "status", "line"),
    [
        ("400", 2, "the probe set's item 3 is refused: HTTP 400: "),
        ("500", 4, "the probe set's item 3 has no answer after 0 s; last: HTTP 500: "),
    ],
)
def test_a_probe_set_without_all_answers_is_not_kept(probed, server, capsys, behaviour, status, line):
    server.script.extend(["ok"] * 3)
    server.behave = lambda text: behaviour

    assert probe_set(probed, server, "base.json", wait="0.2") == status

    ready, last = capsys.readouterr().out.splitlines()
    assert ready.startswith("ready after ")
    assert last.startswith(line)
    assert not (probed.folder / "base.json").exists()


def test_a_server_that_ends_in_the_probe_set_is_told(probed, server, capsys):
    process = subprocess.Popen(["cat"], stdin=subprocess.PIPE)

    def behave(text: str) -> str:
        if server.completions < 4:
            return "ok"
        process.kill()
        process.wait()
        return "reset"

    server.behave = behave
    try:
        assert probe_set(probed, server, "base.json", "--pid", str(process.pid)) == 3
    finally:
        process.communicate()

    assert f"the server's process {process.pid} ended after 0 s; last: " in capsys.readouterr().out


def forget(sweep: Sweep) -> None:
    (sweep.folder / "base.json").unlink()


def tear(sweep: Sweep) -> None:
    path = sweep.folder / "base.json"
    path.write_text(path.read_text()[:-30])


def take_another_file(sweep: Sweep) -> None:
    (sweep.folder / "base.json").write_text('{"answers": [1]}')


def lose_an_answer(sweep: Sweep) -> None:
    path = sweep.folder / "base.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"answers": record["answers"][1:]}))


def take_an_adapters(sweep: Sweep) -> None:
    path = sweep.folder / "base.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"differs": True}))


OTHER = "answers of another model, template, backend, version or data"
NO_BASE = [
    (forget, [], "no such file"),
    (tear, [], "line 14: not valid JSON ("),
    (take_another_file, [], "no answers to a probe set in it"),
    (take_an_adapters, [], "answers of an adapter, not of the base model"),
    (lose_an_answer, [], OTHER),
    (change_model, [], OTHER),
    (change_data, [], OTHER),
    (None, ["--template", "qwen"], OTHER),
    (None, ["--backend", "vllm"], OTHER),
]


@pytest.mark.parametrize(("change", "flags", "why"), NO_BASE)
def test_without_the_base_models_answers_nothing_is_asked(probed, server, base, capsys, change, flags, why):
    if change:
        change(probed)

    assert probe_set(probed, server, "run.json", "--differs-from", str(base), *flags) == 7

    out = capsys.readouterr().out
    assert out.startswith(f"{base}: {why}")
    assert out.endswith(f"; probe the base model first, with --probe {base}\n")
    assert out.count("\n") == 1
    assert server.requests == []


def probe_done(sweep: Sweep, *more: str) -> int:
    serving_flags = ["--model", str(sweep.model), "--template", "glm4", "--backend", "huggingface"]
    return probe_server.main(
        ["--data", str(sweep.data), *serving_flags, "--probe-done", str(sweep.folder / "base.json"), *more]
    )


@pytest.mark.parametrize(("change", "flags", "why"), NO_BASE)
def test_whether_the_base_models_answers_are_there_needs_no_server(probed, server, base, capsys, change, flags, why):
    assert probe_done(probed) == 0
    if change:
        change(probed)

    assert probe_done(probed, *flags) == 4

    assert capsys.readouterr().out == ""
    assert server.requests == []


def test_where_a_model_lies_does_not_decide_its_answers(probed, base):
    moved = probed.model.rename(probed.folder / "elsewhere")

    assert probe_done(probed, "--model", str(moved)) == 0


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--served-model", "x"], "--base-url is missing; see --help"),
        (["--base-url", "http://127.0.0.1:1/v1"], "--served-model is missing; see --help"),
        (["--base-url", "x", "--served-model", "x", "--probe", "a"], "--model is missing; see --help"),
        (["--probe-done", "a", "--model", "m", "--template", "t"], "--backend is missing; see --help"),
        (["--differs-from", "a"], "--differs-from: --probe FILE is missing, where the answers that are compared go"),
        (["--differs-from", "a", "--probe", "./a"], "--differs-from a: the same file as --probe; it would be compared"),
    ],
)
def test_a_probe_that_lacks_something_says_so(sweep, flags, message):
    with pytest.raises(UserError) as caught:
        probe_server.main(["--data", str(sweep.data), *flags])
    assert str(caught.value).startswith(message)


def test_a_missing_model_is_not_taken_for_a_missing_file(probed):
    with pytest.raises(UserError, match="no such folder"):
        probe_done(probed, "--model", str(probed.folder / "none"))
