"""The contract of tests/stubs: what our scripts rely on holds for the stub and for the real llamafactory-cli alike.

vLLM cannot run without a GPU: its stub (the same server, with /v1/load_lora_adapter) is only compared with its sources.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parents[1]
ROWS = 6
STEPS = 9  # 3 epochs in batches of 2
CLOSED, CREATED, MOVED = 0x8, 0x100, 0x80  # of inotify


class Program:
    """`llamafactory-cli`, the stub or the real one, with data and a model for it."""

    def __init__(self, kind: str, root: Path) -> None:
        self.root, self.data, self.model = root, root / "data", root / "model"
        self.command = [str(Path(sys.executable).with_name("llamafactory-cli"))]
        # As bin/lib/device.bash has it on a CPU.
        self.environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        self.environment |= {"DISABLE_VERSION_CHECK": "1"}
        self.data.mkdir()
        rows = [
            {"instruction": "Choose.", "input": f"document {n} about Animals: word{n}", "output": "Animals"}
            for n in range(ROWS)
        ]
        (self.data / "llm_train_8.json").write_text(json.dumps(rows))
        columns = {"prompt": "instruction", "query": "input", "response": "output"}
        (self.data / "dataset_info.json").write_text(
            json.dumps({"llm_train_8": {"file_name": "llm_train_8.json", "columns": columns}})
        )
        if kind == "stub":
            self.command = [str(PROJECT / "tests/stubs/llamafactory-cli")]
            self.environment |= {"STUB": str(root), "STUB_PYTHON": sys.executable}
            self.model.mkdir()
            return
        shape = {"hidden-size": 32, "intermediate-size": 48, "num-hidden-layers": 1, "num-attention-heads": 4}
        flags = [part for name, value in shape.items() for part in (f"--{name}", str(value))]
        make = [sys.executable, "bench/random_model.py", "--data", str(self.data), "--out", str(self.model)]
        subprocess.run([*make, *flags, "--head-dim", "8", "--vocab-size", "400"], cwd=PROJECT, check=True)

    def train(self, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
        flags = {
            "stage": "sft", "do_train": "True", "finetuning_type": "lora", "template": "glm4", "lora_target": "all",
            "model_name_or_path": self.model, "dataset_dir": self.data, "dataset": "llm_train_8", "cutoff_len": 64,
            "num_train_epochs": 3.0, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 1,
            "learning_rate": "1e-3", "lr_scheduler_type": "cosine", "logging_steps": 1, "save_steps": 3,
            "save_total_limit": 2, "report_to": "none", "plot_loss": "True", "preprocessing_num_workers": 1,
            "output_dir": folder, "tokenized_path": folder / "tokenized", "seed": 42,
        }  # fmt: skip
        words = [part for name, value in flags.items() for part in (f"--{name}", str(value))]
        command = [*self.command, "train", *words, *more]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)

    def serve(self, port: int, log: Path) -> subprocess.Popen[bytes]:
        flags = ["--model_name_or_path", self.model, "--template", "glm4", "--infer_backend", "huggingface"]
        own = {
            "API_HOST": "127.0.0.1",
            "API_PORT": str(port),
            "API_KEY": "sesame",
            "API_MODEL_NAME": "demo-llm_train_8",
        }
        with log.open("wb") as stream:
            return subprocess.Popen(
                [*self.command, "api", *map(str, flags)], env=self.environment | own, stdout=stream, stderr=stream
            )


@pytest.fixture(scope="module", params=["stub", pytest.param("real", marks=pytest.mark.end_to_end)])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Program:
    return Program(request.param, tmp_path_factory.mktemp(request.param))


class Trained:
    """One undisturbed training, and the names in the order in which they appeared in its folder."""

    def __init__(self, program: Program) -> None:
        self.folder = program.root / "trained"
        self.folder.mkdir()
        libc = ctypes.CDLL(None)
        watch = libc.inotify_init1(0)
        libc.inotify_add_watch(watch, bytes(self.folder), CLOSED | CREATED | MOVED)
        self.ran = program.train(self.folder)
        events, self.order = os.read(watch, 1 << 20), []
        os.close(watch)
        while events:
            _, mask, _, size = struct.unpack("iIII", events[:16])
            name, events = events[16 : 16 + size].rstrip(b"\0").decode(), events[16 + size :]
            if mask & (CLOSED | MOVED) or mask & 0x40000000:  # a file when it is whole, a folder when it is made
                self.order.append(name)

    def copy(self, target: Path, *without: str) -> Path:
        return shutil.copytree(self.folder, target, ignore=shutil.ignore_patterns(*without))


@pytest.fixture(scope="module")
def trained(program: Program) -> Trained:
    return Trained(program)


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def logged(folder: Path) -> list[tuple[int, float | None]]:
    entries = [json.loads(line) for line in (folder / "trainer_log.jsonl").read_text().splitlines()]
    assert {entry["total_steps"] for entry in entries} == {STEPS}
    return [(entry["current_steps"], entry.get("loss")) for entry in entries]


OUTPUT = ("adapter_*", "*.bin", "*.json", "*.png", "README.md", "*.jinja")  # all that is written after the last step


@pytest.mark.timeout(300)
class TestTrainer:
    def test_what_it_writes_in_which_order(self, trained):
        assert trained.ran.returncode == 0, trained.ran.stderr
        expected = ["tokenized", "checkpoint-3", "checkpoint-6", "checkpoint-9", "trainer_log.jsonl"]
        expected += ["adapter_model.safetensors", "adapter_config.json", "train_results.json", "all_results.json"]
        expected += ["trainer_state.json", "training_loss.png"]
        last = {name: place for place, name in enumerate(trained.order)}  # where each was written for the last time
        assert sorted(expected, key=last.__getitem__) == expected

    def test_its_checkpoints_are_the_last_two_one_of_them_of_the_last_step(self, trained):
        found = sorted(trained.folder.glob("checkpoint-*"))
        assert [path.name for path in found] == ["checkpoint-6", "checkpoint-9"]
        for path, step in zip(found, (6, STEPS), strict=True):
            state = read(path / "trainer_state.json")
            assert (state["global_step"], state["max_steps"]) == (step, STEPS)
            parts = ("adapter_model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth")
            written = [(path / name).stat().st_mtime_ns for name in (*parts, "trainer_state.json")]
            assert max(written) == written[-1]

    def test_its_account_of_what_it_did(self, trained):
        results, state = read(trained.folder / "all_results.json"), read(trained.folder / "trainer_state.json")
        log = logged(trained.folder)
        assert [step for step, _ in log] == [*range(1, STEPS + 1), STEPS]
        assert log[-1][1] is None
        losses = [loss for _, loss in log[:-1]]
        assert results["train_loss"] == pytest.approx(sum(losses) / STEPS)
        assert results["train_samples_per_second"] * results["train_runtime"] == pytest.approx(3 * ROWS, rel=0.01)
        assert (state["global_step"], state["max_steps"]) == (STEPS, STEPS)
        assert read(trained.folder / "train_results.json") == results
        assert len(list((trained.folder / "tokenized/train").glob("*.arrow"))) == 1

    def test_with_weights_and_no_checkpoint_it_refuses(self, program, trained, tmp_path):
        folder = trained.copy(tmp_path / "again", "checkpoint-*", "*_results.json", "trainer_state.json")
        before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
        ran = program.train(folder)
        assert ran.returncode == 1
        assert "ValueError: Output directory already exists and is not empty." in ran.stderr.splitlines()[-1]
        assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before

    def test_it_goes_on_from_a_checkpoint_and_learns_the_same(self, program, trained, tmp_path):
        folder = trained.copy(tmp_path / "again", "checkpoint-9", "tokenized")
        for pattern in OUTPUT:
            for path in folder.glob(pattern):
                path.unlink()
        lines = (trained.folder / "trainer_log.jsonl").read_text().splitlines(keepends=True)
        (folder / "trainer_log.jsonl").write_text("".join(lines[:6]))
        ran = program.train(folder)
        assert ran.returncode == 0, ran.stderr
        assert logged(folder) == logged(trained.folder)  # appended to
        # The steps since the checkpoint, divided by all.
        expected = sum(loss for _, loss in logged(folder)[6:-1]) / STEPS
        assert read(folder / "all_results.json")["train_loss"] == pytest.approx(expected)
        name = "adapter_model.safetensors"
        assert (folder / name).read_bytes() == (trained.folder / name).read_bytes()
        assert sorted(path.name for path in folder.glob("checkpoint-*")) == ["checkpoint-6", "checkpoint-9"]

    def test_from_the_checkpoint_of_its_last_step_it_trains_nothing(self, program, trained, tmp_path):
        folder = trained.copy(tmp_path / "again", "checkpoint-6")
        ran = program.train(folder)
        assert ran.returncode == 0, ran.stderr
        assert read(folder / "all_results.json")["train_loss"] == 0

    @pytest.mark.parametrize("flags", [["--no_such_flag", "1"], ["--dataset", "no_such_data"]])
    def test_what_it_does_not_know_is_an_error(self, program, tmp_path, flags):
        ran = program.train(tmp_path / "new", *flags)
        assert ran.returncode == 1
        assert "no_such" in ran.stderr.splitlines()[-1]
        assert "ValueError: " in ran.stderr.splitlines()[-1]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


class Served:
    """A server on a port, and one that was started on the same port when it was ready."""

    def __init__(self, program: Program) -> None:
        self.port = free_port()
        self.process = program.serve(self.port, program.root / "server.log")
        deadline = time.monotonic() + 120
        while self.ask("/v1/models")[0] != 200:
            assert self.process.poll() is None, (program.root / "server.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        self.second = program.serve(self.port, program.root / "second.log")

    def ask(self, path: str, body: object = None, key: str | None = "sesame") -> tuple[int, Any]:
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers)
        try:
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(request, timeout=60) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, None
        except OSError:
            return 0, None


@pytest.fixture(scope="module")
def served(program: Program):
    made = Served(program)
    yield made
    for process in (made.process, made.second):
        process.kill()
        process.wait()


QUESTION = {"messages": [{"role": "user", "content": "document 0 about Animals: word0"}], "max_tokens": 2}


@pytest.mark.timeout(300)
class TestServer:
    @pytest.mark.parametrize("key", [None, "another"])
    @pytest.mark.parametrize(("path", "body"), [("/v1/models", None), ("/v1/chat/completions", QUESTION)])
    def test_without_its_key_it_answers_nothing(self, served, key, path, body):
        assert served.ask(path, body, key)[0] == 401

    def test_its_model_has_the_name_that_it_was_given(self, served):
        assert [model["id"] for model in served.ask("/v1/models")[1]["data"]] == ["demo-llm_train_8"]

    @pytest.mark.parametrize("name", ["demo-llm_train_8", "another"])
    def test_it_answers_whatever_model_is_asked_for(self, served, name):
        status, answer = served.ask("/v1/chat/completions", QUESTION | {"model": name})
        assert (status, answer["model"]) == (200, name)
        choice = answer["choices"][0]
        assert choice["finish_reason"] in ("stop", "length")
        assert choice["message"]["role"] == "assistant"
        assert isinstance(choice["message"]["content"], str)

    def test_on_a_port_in_use_it_ends(self, program, served):
        assert served.second.wait(120) == 3
        assert "address already in use" in (program.root / "second.log").read_text()
        assert served.ask("/v1/models")[0] == 200

    def test_it_ends_on_term(self, served):
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(30) == -signal.SIGTERM
        assert served.ask("/v1/models")[0] == 0
