"""Scoring, the metrics and the notebook's pickle: what is counted as right, and whose numbers come out."""

import json
import os
import pickle
import random
import subprocess
import sys
from pathlib import Path

import pytest
from sklearn import metrics as sklearn_metrics

from fewshot_sft import text
from fewshot_sft.evaluation import evaluated, macro, notebook_pickle, scoring

PY = Path(__file__).resolve().parents[1] / "py"
CLASSES = ["Physics", "Electricity", "Textiles; Paper"]
TRUTH = ["Physics", "Physics", "Electricity", "Electricity", "Textiles; Paper", "Textiles; Paper"]
ANSWERS = ["Physics", "Electricity", "Electricity", '"Electricity"', "paper", "paper"]


def test_only_the_exact_label_is_inside():
    assert scoring.numbers(["Physics", "physics", '"Physics"', "Physics.", "", "Unknown"], CLASSES) == [0] + [-1] * 5


def test_the_originals_scoring_draws_a_seeded_class_for_each_outside_answer_in_item_order():
    drawn = random.Random(7)
    expected = [0, 1, 1, drawn.randrange(3), drawn.randrange(3), drawn.randrange(3)]

    assert scoring.original_numbers(ANSWERS, CLASSES, seed=7) == expected
    assert {tuple(scoring.original_numbers(ANSWERS, CLASSES, seed)) for seed in range(20)} != {tuple(expected)}


def test_confusion_has_a_last_column_for_outside_answers():
    assert scoring.confusion(ANSWERS, TRUTH, CLASSES) == [[1, 1, 0, 0], [0, 1, 0, 1], [0, 0, 0, 2]]


def test_a_lost_answer_is_an_error_not_a_shorter_list():
    with pytest.raises(ValueError, match="longer"):
        scoring.confusion(ANSWERS[:-1], TRUTH, CLASSES)


def test_counts_add_up():
    assert scoring.counts(scoring.confusion(ANSWERS, TRUTH, CLASSES), CLASSES) == {
        "items": 6,
        "correct": 2,
        "in_labels": 3,
        "not_in_labels": 3,
        "per_class": {
            "Physics": {"items": 2, "predicted": 1, "correct": 1},
            "Electricity": {"items": 2, "predicted": 2, "correct": 1},
            "Textiles; Paper": {"items": 2, "predicted": 0, "correct": 0},
        },
    }


def test_outside_answers_are_reported_with_what_a_lenient_rule_would_accept():
    answers = ["Physics", "paper", '"physics"', "paper", "\u201cElectricity\u201d", "'Textiles; Paper'", "Unknown", ""]

    found = scoring.outside(answers, CLASSES, samples=2)

    assert found["rate"] == 7 / 8
    assert found["match_without_quotes_and_case"] == 3
    assert found["samples"] == [{"answer": "paper", "count": 2}, {"answer": '"physics"', "count": 1}]


def test_no_outside_answer_is_a_rate_of_zero():
    assert scoring.outside(CLASSES, CLASSES) == {"rate": 0.0, "match_without_quotes_and_case": 0, "samples": []}


@pytest.mark.filterwarnings("error")
def test_metrics_count_an_outside_answer_as_wrong_and_a_class_never_predicted_as_zero():
    found = evaluated.findings(ANSWERS, TRUTH, CLASSES, cut=0, seed=1)

    # By hand. Precision: 1/1, 1/2, none predicted; recall: 1/2, 1/2, 0/2.
    assert found["metrics"] == pytest.approx(
        {"accuracy": 2 / 6, "precision": (1 + 1 / 2 + 0) / 3, "recall": 1 / 3, "f1": (2 / 3 + 1 / 2 + 0) / 3}
    )
    for key in ("precision", "recall", "f1"):
        assert found["metrics"][key] == pytest.approx(sum(each[key] for each in found["per_class"].values()) / 3)
    assert {label: each["support"] for label, each in found["per_class"].items()} == dict.fromkeys(CLASSES, 2)


def test_the_originals_metrics_are_scikit_learns_defaults_over_the_classes_that_occur():
    predictions, references = [0, 0, 1, 3], [0, 1, 1, 1]  # class 2 of 4 occurs nowhere
    with pytest.warns(sklearn_metrics._classification.UndefinedMetricWarning):
        expected = {
            "accuracy": sklearn_metrics.accuracy_score(references, predictions),
            "precision": sklearn_metrics.precision_score(references, predictions, average="macro"),
            "recall": sklearn_metrics.recall_score(references, predictions, average="macro"),
            "f1": sklearn_metrics.f1_score(references, predictions, average="macro"),
        }

    assert macro.compute(predictions, references) == expected
    assert macro.compute(predictions, references, range(4))["recall"] == pytest.approx(expected["recall"] * 3 / 4)


def test_the_record_is_warned_about_labels_without_items_and_answers_cut_off():
    found = evaluated.findings(["Physics"], ["Physics"], CLASSES, cut=1, seed=1)

    assert evaluated.summary(found) == [
        "accuracy 1.0000, macro F1 0.3333; 0 of 1 answers outside the labels",
        "warning: answers that MAX_TOKENS cut off: 1; a label may need more",
        'warning: without an item here, so 0 in the macro means: "Electricity", "Textiles; Paper"',
    ]


def test_metrics_need_no_network_no_home_and_do_not_race(tmp_path):
    code = "from fewshot_sft.evaluation import macro; import json; "
    code += "print(json.dumps(macro.compute([0, 1, -1], [0, 1, 1], range(2))))"
    home = tmp_path / "home"
    home.mkdir(mode=0o500)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(PY),
        "TMPDIR": str(temporary),
        "HF_HUB_OFFLINE": "1",
        # No proxy listens there: a fetch would fail.
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "HTTP_PROXY": "http://127.0.0.1:9",
    }
    # Root writes into a read-only folder all the same, so the other one cannot exist: /dev/null is no folder.
    homes = [str(home), "/dev/null/home"]

    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code], env=environment | {"HOME": each}, stdout=-1, stderr=-1, text=True
        )
        for each in homes
    ]
    results = [process.communicate(timeout=300) for process in processes]

    for (out, err), process in zip(results, processes, strict=True):
        assert process.returncode == 0, err
        assert json.loads(out) == pytest.approx({"accuracy": 2 / 3, "precision": 1.0, "recall": 0.75, "f1": 5 / 6})
    assert not list(home.iterdir())
    assert not list(temporary.glob("fewshot-*"))


NOTEBOOK = """
from dataclasses import dataclass, field
nums = [100]
files = []
for num in nums:
    files.append(f"objs/llm_train_{num}.pkl")

import pickle
def load_obj(name):
    with open(name, 'rb') as f:
        return pickle.load(f)

@dataclass
class EvalData:
    name : str
    in_cnt : int = 0
    not_in_cnt : int = 0
    preds : list = field(default_factory=list)
    labels : list = field(default_factory=list)
    not_in_texts : list = field(default_factory=list)
    eval : dict = field(default_factory=dict)

data = []
for file in files:
    eval_data = load_obj(file)
    data.append(eval_data.eval)
import sys
assert not any(name.startswith("fewshot") for name in sys.modules)
print([eval_data.name, eval_data.in_cnt, eval_data.not_in_cnt])
print([eval_data.preds, eval_data.labels, eval_data.not_in_texts])
print(data)
"""


@pytest.mark.parametrize(
    "code", [NOTEBOOK, NOTEBOOK.replace("@dataclass", "").replace("class EvalData:", "class Other:")]
)
def test_the_seeds_notebook_opens_the_pickle_as_it_is(tmp_path, code):
    values = {"accuracy": 0.5, "precision": 0.25, "recall": 0.5, "f1": 1 / 3}
    path = tmp_path / "objs" / "llm_train_100.pkl"
    notebook_pickle.write(path, "llm_train_100", ["Physics", "paper"], ["Physics", "Electricity"], CLASSES, values)

    # -I: no PYTHONPATH, not the current folder: nothing of this project can be imported.
    done = subprocess.run([sys.executable, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300)

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "['llm_train_100', 1, 1]",
        "[['Physics', 'paper'], ['Physics', 'Electricity'], ['paper']]",
        f"[{values}]",
    ]


def test_nothing_of_ours_unpickles():
    """A pickle runs code when it is opened: ours are written for the notebook, and never read."""
    for path in PY.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert "pickle.load" not in text, path
        assert "Unpickler" not in text, path
        assert "weights_only=False" not in text, path
        assert "import pickle" not in text or path.name == "notebook_pickle.py", path


@pytest.mark.parametrize(
    ("label", "answer", "alike"),
    [
        ("Satisfait !", "Satisfait!", True),
        ("Arts , jeux", "Arts, jeux", True),
        ("l ' eau n't , it 's", "l'eaun't, it's", True),
        ("Thê\u0309 thao", "Thể thao", True),
        ("a  b\u00a0c\u3000d", "a b c d", True),
        ("Satisfait !", "satisfait!", False),
        ("Ａ类", "A类", False),
        ("ﬁn", "fin", False),
        ("C #", "C#", False),
        ("a ; b", "a; b", False),
    ],
)
def test_what_a_tokenizer_changes_on_the_way_makes_no_answer_wrong(label, answer, alike, folder):
    classes = ["other", label]
    number = 1 if alike else scoring.OUTSIDE
    assert scoring.numbers([answer, label], classes) == [number, 1]
    found = evaluated.findings([answer], [label], classes, cut=0, seed=1)
    assert (found["metrics"]["accuracy"], found["not_in_labels"]["rate"]) == (float(alike), float(not alike))
    assert found["comparison"] == text.COMPARISON
    notebook_pickle.write(folder / "x.pkl", "x", [answer], [label], classes, {})
    written = pickle.loads((folder / "x.pkl").read_bytes())
    assert (written.in_cnt, written.preds == written.labels) == (int(alike), alike)


def test_the_clean_up_is_the_one_of_transformers():
    from transformers import PreTrainedTokenizerBase

    words = "a . b ? c ! d , e ' f do n't I 'm he 's we 've you 're  .  ' g"
    assert text.clean_up(words) == PreTrainedTokenizerBase.clean_up_tokenization(None, words)
