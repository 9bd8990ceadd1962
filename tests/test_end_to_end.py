"""The whole sweep with the real llamafactory-cli: base model, LoRA training, server, evaluation, pictures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import EPOCHS, ITEMS, PROJECT, SEEDS, SIZES, processes_marked

TRAINED = [f"llm_train_{size}{suffix}" for suffix in ("", "-seed7") for size in SIZES]


@pytest.mark.end_to_end
@pytest.mark.timeout(4000)
class TestSweep:
    """One real sweep, looked at from all sides."""

    def test_it_ends_well_and_leaves_no_process(self, swept):
        assert swept["ran"].returncode == 0, swept["ran"].stderr
        assert processes_marked(str(swept["root"])) == []

    def test_nobody_hears_of_it_and_it_needs_no_network(self, swept):
        """The listener is there for all proxies, for LangSmith, OpenAI and those who watch over trainings."""
        assert swept["heard"].read_text() == ""
        if not swept["alone"]:
            pytest.skip("no network of its own can be had here (unshare --net): the sweep had this machine's")

    @pytest.mark.parametrize("run", TRAINED)
    def test_the_trainer_had_exactly_n_examples(self, swept, run):
        folder = swept["root"] / "saves/tiny/lora" / f"tiny-{run}"
        record = json.loads((folder / "training.json").read_text())
        size = record["size"]
        assert record["status"] == "done"
        assert record["examples"] == size
        assert record["tokens"]["truncated"] == 0
        assert record["steps"] == EPOCHS * size // 8  # in batches of 8
        assert record["loss"]["last"] < record["loss"]["first"]
        assert (folder / "adapter_model.safetensors").is_file()
        assert not (folder / "tokenized").exists()

    @pytest.mark.parametrize("shared_prefix", ["auto", "True"])  # auto: on a CPU it is not done
    def test_the_fast_trainer_learns_the_same(self, swept, tmp_path, shared_prefix):
        """Casts switched off, logits where there are labels, the instruction once: the same adapter, up to rounding."""
        import numpy as np
        from safetensors.numpy import load_file

        size = SIZES[0]
        plain = swept["root"] / "saves/tiny/lora" / f"tiny-llm_train_{size}"
        settings = json.loads((plain / "training.json").read_text())["settings"]
        settings |= {"output_dir": str(tmp_path / "fast"), "tokenized_path": str(tmp_path / "tokenized")}
        settings |= {
            "shared_prefix": shared_prefix,
            "per_device_train_batch_size": "8",
            "gradient_accumulation_steps": "1",
        }
        flags = [word for key, value in settings.items() for word in (f"--{key}", value)]
        # As bin/lib/device.bash has it on a CPU.
        environment = swept["env"] | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "DISABLE_VERSION_CHECK": "1"}
        environment["FEWSHOT_SETTINGS"] = str(swept["root"] / "logs/tiny.settings.json")
        command = [sys.executable, str(PROJECT / "py/fast_trainer.py"), *flags]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=1500)
        assert ran.returncode == 0, ran.stderr
        flops = [
            json.loads((folder / "all_results.json").read_text())["total_flos"] for folder in (plain, tmp_path / "fast")
        ]
        # The instruction, half of the tokens, is computed once instead of eight times.
        assert (flops[1] < 0.6 * flops[0]) is (shared_prefix == "True")

        def losses(folder):
            lines = (folder / "trainer_log.jsonl").read_text().splitlines()
            return [entry["loss"] for entry in map(json.loads, lines) if "loss" in entry]

        assert losses(tmp_path / "fast") == pytest.approx(losses(plain), rel=1e-4)
        before, after = (load_file(folder / "adapter_model.safetensors") for folder in (plain, tmp_path / "fast"))
        assert before.keys() == after.keys()
        for name, weights in before.items():
            assert np.abs(weights - after[name]).max() <= 0.02 * np.abs(weights).max(), name
        # Both adapters say the same, the one to its trainer, the other to its evaluation.
        check = json.loads((tmp_path / "fast/first_answers.json").read_text())["check"]
        assert check == json.loads((plain / "training.json").read_text())["check"]

    def test_another_seed_is_another_training_and_the_same_test(self, swept):
        records = [json.loads((swept["root"] / f"objs/tiny-{run}.json").read_text()) for run in TRAINED]
        fields = [(each["model"], each["method"], each["size"], each["seed"]) for each in records]
        assert fields == [("tiny", "lora", size, seed) for seed in SEEDS for size in SIZES]
        assert len({each["settings"]["data_sha256"] for each in records}) == 1
        hashes = [json.loads((Path(each["adapter"]) / "training.json").read_text())["adapter"] for each in records]
        assert len(set(hashes)) == len(hashes)

    @pytest.mark.parametrize("run", ["zero-shot", *TRAINED])
    def test_every_item_was_asked_once_and_the_record_agrees_with_the_answers(self, swept, run):
        objs = swept["root"] / "objs"
        record = json.loads((objs / f"tiny-{run}.json").read_text())
        lines = [json.loads(line) for line in (objs / f"tiny-{run}.predictions.jsonl").read_text().splitlines()]
        answers = lines[1:]
        truth = [item["output"] for item in json.loads((swept["root"] / "data/llm_test.json").read_text())]
        assert sorted(answer["index"] for answer in answers) == list(range(ITEMS))
        assert [a["label"] for a in sorted(answers, key=lambda a: a["index"])] == truth
        assert record["counts"]["items"] == ITEMS
        correct = sum(answer["pred"] == truth[answer["index"]] for answer in answers)
        assert record["counts"]["correct"] == correct
        assert record["metrics"]["accuracy"] == pytest.approx(correct / ITEMS)
        assert ("adapter" in record) == (run != "zero-shot")

    def test_the_likeliest_label_is_the_answer_where_that_is_a_label(self, swept):
        shown = json.loads((swept["root"] / "objs/tiny/calibration.json").read_text())
        assert shown["absent"] == []
        of_run = {each["run"]: each for each in shown["runs"]}
        assert {f"tiny-{run}" for run in ("zero-shot", *TRAINED, "tfidf_16")} <= set(of_run)
        for run in TRAINED:
            record = json.loads((swept["root"] / f"objs/tiny-{run}.json").read_text())
            in_labels = record["counts"]["in_labels"] / ITEMS
            assert of_run[f"tiny-{run}"]["same_as_answer"] >= 0.9 * in_labels

    def test_free_text_gets_better_with_n_and_the_losses_are_drawn(self, swept, tmp_path):
        settings = {"TASK": "generation", "SWEEP_NAME": "restated", "SIZES": "16 256", "SEEDS": "42", "EPOCHS": "8"}
        settings |= {"METHODS": "lora zero-shot tfidf", "EVAL_STEPS": "40", "DATA_DIR": str(tmp_path / "data")}
        command = ["bash", str(PROJECT / "bin/sweep.sh")]
        environment = swept["env"] | settings
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=1500)
        assert ran.returncode == 0, ran.stderr
        objs = swept["root"] / "objs"
        small, large, base = (
            json.loads((objs / f"restated-{run}.json").read_text())["metrics"]["rouge_l"]
            for run in ("llm_train_16", "llm_train_256", "zero-shot")
        )
        assert large > max(small, base) + 0.1
        assert "absent: tfidf, 2 runs: left out: it gives labels, and TASK=generation asks for text" in ran.stdout
        listed = json.loads((objs / "restated-llm_train_256.predictions.json").read_text())
        assert [set(each) for each in listed] == [{"input", "predict", "target"}] * ITEMS
        folder = swept["root"] / "saves/tiny/lora/restated-llm_train_256"
        training = json.loads((folder / "training.json").read_text())
        assert [each["step"] for each in training["eval_loss"]] == [40, 80, 120, 160, 200, 240, 256]
        assert [each["answer"] for each in training["check"]] == [each["predict"] for each in listed[:3]]
        command = [sys.executable, str(PROJECT / "py/plot_loss.py"), "--json_file", str(folder / "trainer_state.json")]
        drawn = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert "restated-llm_train_256: best evaluation loss" in drawn

    def test_no_key_and_no_foreign_address_in_any_log(self, swept):
        text = "".join(path.read_text(errors="replace") for path in (swept["root"] / "logs").glob("*.log"))
        assert "http://127.0.0.1:" in text
        assert "0.0.0.0:" not in text
        assert "API_KEY" not in text + swept["ran"].stderr + swept["ran"].stdout

    def test_the_table_and_the_pictures_are_there(self, swept):
        table = swept["ran"].stdout
        shown = swept["root"] / "objs/tiny"
        for size in SIZES:
            record = json.loads((swept["root"] / f"objs/tiny-llm_train_{size}.json").read_text())
            row = next(line for line in table.splitlines() if line.split()[:3] == ["lora", str(size), "42"])
            assert f"{record['metrics']['accuracy']:.3f}" in row
            assert (shown / f"confusion_tiny-llm_train_{size}.png").stat().st_size > 1000
        for name in ("learning_curve", "radar", "training_loss"):
            assert (shown / f"{name}.png").read_bytes().startswith(b"\x89PNG")
            assert "<svg" in (shown / f"{name}.svg").read_text()

    def test_the_same_command_again_does_nothing_again(self, swept):
        objs = swept["root"] / "objs"
        before = {path.name: path.stat().st_mtime_ns for path in objs.glob("tiny*.*")}
        again = subprocess.run(
            swept["command"],
            env=swept["env"],
            cwd=swept["root"],
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        said = again.stdout + again.stderr
        assert again.returncode == 0, said
        assert "base model: already there" in said
        for size in SIZES:
            assert f"size {size}: already trained" in said
            assert f"size {size}: already evaluated" in said
        assert {path.name: path.stat().st_mtime_ns for path in objs.glob("tiny*.*")} == before
