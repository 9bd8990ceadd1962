"""The picture of a trainer_state.json, or of many."""

import json
import re
from pathlib import Path

import pytest

import plot_loss
from fewshot_sft.errors import UserError
from fewshot_sft.training import trainer_state


def state(folder: Path, *entries: dict[str, float], name: str = "trainer_state.json") -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps({"log_history": entries}))
    return str(folder / name)


HISTORY = (
    {"loss": 2.0, "step": 5},
    {"eval_loss": 1.5, "step": 5},
    {"loss": 1.0, "step": 10},
    {"eval_loss": 1.2, "step": 10},
    {"loss": 0.5, "step": 15},
    {"eval_loss": 1.4, "step": 15},
    {"train_loss": 1.1, "step": 15},
)


def test_losses_of_several_trainings_with_the_best_evaluation_marked(tmp_path, capsys):
    first = state(tmp_path / "3b/checkpoint-15", *HISTORY)
    second = state(tmp_path / "560m/checkpoint-15", {"loss": 3.0, "step": 5}, {"loss": float("nan"), "step": 10})

    assert plot_loss.main(["--json_file", first, second]) == 0

    picture = tmp_path / "3b/checkpoint-15/plot_loss"
    assert capsys.readouterr().out == (
        f"3b/checkpoint-15: best evaluation loss 1.2000 at step 10\nwritten: {picture}.png, {picture}.svg\n"
    )
    texts = re.findall(r">([^<>\n]+)</text>", picture.with_suffix(".svg").read_text())
    assert texts.count("training") == 2
    assert texts.count("evaluation") == 1
    assert {"3b/checkpoint-15", "560m/checkpoint-15", "best: 1.2 at step 10"} < set(texts)
    assert trainer_state.read(Path(second)).training == [(5, 3.0)]


def test_out_names_the_picture_and_alike_folders_are_told_apart(tmp_path):
    one = state(tmp_path / "a/run", *HISTORY)
    plot_loss.main(["--json_file", one, "--out", str(tmp_path / "b/loss.svg")])
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == ["loss.png", "loss.svg"]
    with pytest.raises(UserError, match=r"b/loss.pdf: a PNG and an SVG are written; --out .*b/loss\.png"):
        plot_loss.main(["--json_file", one, "--out", str(tmp_path / "b/loss.pdf")])
    paths = [tmp_path / "a/run/x.json", tmp_path / "b/run/x.json", tmp_path / "b/run/y.json"]
    assert plot_loss.labels(paths) == ["a/run", "b/run/x.json", "b/run/y.json"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        ('{"log_history": [\n{', "line 2: not valid JSON (Expecting property name enclosed in double quotes)"),
        ("[]", "no log_history in it; give a trainer_state.json, which the trainer writes"),
        ('{"log_history": []}', "no loss in its log_history; lower LOGGING_STEPS and train again"),
        ('{"log_history": [{"loss": "x"}]}', "entry 1 of log_history: step and loss are not both numbers"),
    ],
)
def test_a_file_that_cannot_be_drawn(tmp_path, content, message):
    path = tmp_path / "trainer_state.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=re.escape(f"{path}: {message}")):
        plot_loss.main(["--json_file", str(path)])
