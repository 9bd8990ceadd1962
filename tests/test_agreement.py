"""bench/agreement.py: which answers two askings have in common."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

BENCH = Path(__file__).resolve().parents[1] / "bench/agreement.py"


@pytest.fixture(scope="module")
def agreement() -> ModuleType:
    spec = importlib.util.spec_from_file_location("agreement", BENCH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def asked(folder: Path, answers: str, size: int = 4) -> None:
    """Write an asking whose answers are the letters, in any order; the last comes first."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [{"kind": "predictions"}, *({"index": index, "pred": text} for index, text in enumerate(answers))][:0:-1]
    text = "\n".join(map(json.dumps, [{"kind": "predictions"}, *lines]))
    (folder / f"demo-llm_train_{size}.predictions.jsonl").write_text(text + "\n")
    (folder / f"demo-llm_train_{size}.json").write_text("{}")


def test_what_differs_and_between_whom(agreement, tmp_path, capsys):
    asked(tmp_path / "llamafactory.1", "aaaaB")
    asked(tmp_path / "llamafactory.2", "aaaaB")
    asked(tmp_path / "vllm.1", "aaabA")
    asked(tmp_path / "vllm.2", "aaacA")
    asked(tmp_path / "vllm.2", "aaaaa", size=8)  # once only
    assert agreement.main(["--folder", str(tmp_path), "--name", "demo", "--sizes", "4", "8"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "size 4, 5 items:",
        "  llamafactory.1   llamafactory.2        5 equal  100.0%",
        "  llamafactory.1   vllm.1                3 equal  60.0%",
        "  llamafactory.1   vllm.2                3 equal  60.0%",
        "  llamafactory.2   vllm.1                3 equal  60.0%",
        "  llamafactory.2   vllm.2                3 equal  60.0%",
        "  vllm.1           vllm.2                4 equal  80.0%",
        "  1 differ between the servers and not within one",
        "     1 times 'a' / 'b' / 'c'",
        "     1 times 'A' / 'B'",
    ]
    found = json.loads((tmp_path / "agreement.json").read_text())["sizes"]
    assert list(found) == ["4"]
    assert [pair["across"] for pair in found["4"]["pairs"]] == [False, True, True, True, True, False]


def test_an_evaluation_that_is_not_complete_is_left_out(agreement, tmp_path):
    asked(tmp_path / "vllm.1", "aa")
    asked(tmp_path / "vllm.2", "aa")
    (tmp_path / "vllm.2/demo-llm_train_4.json").unlink()
    with pytest.raises(agreement.UserError, match=r"no size has been asked twice$"):
        agreement.main(["--folder", str(tmp_path), "--name", "demo", "--sizes", "4"])


def test_of_an_asking_with_more_items_only_those_of_the_others_are_compared(agreement, tmp_path, capsys):
    asked(tmp_path / "vllm.1", "aaa")
    asked(tmp_path / "vllm.10", "aabcc")
    assert agreement.main(["--folder", str(tmp_path), "--name", "demo", "--sizes", "4"]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == [
        "size 4, 3 items:",
        "  vllm.1           vllm.10               2 equal  66.7%",
    ]


def test_how_close_the_answers_that_differ_were_to_others(agreement, tmp_path, capsys):
    asked(tmp_path / "llamafactory.1", "aaaaB")
    asked(tmp_path / "vllm.1", "aabaA")
    margins = [3.0, None, 0.01, 0.04, 0.05, 9.0]  # more items than were asked here
    (tmp_path / "margins.demo-llm_train_4.json").write_text(json.dumps({"margins": margins}))
    assert agreement.main(["--folder", str(tmp_path), "--name", "demo", "--sizes", "4"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        "  margin to the next best token, nats: those that vary 0.030 in the middle, 0.050 at most; "
        "the others 1.520 in the middle, 1 of 2 within that most"
    )
    (tmp_path / "margins.demo-llm_train_4.json").write_text(json.dumps({"margins": margins[:4]}))
    with pytest.raises(agreement.UserError, match="size 4: margins of 4 items only, not 5; take another BENCH_DIR"):
        agreement.main(["--folder", str(tmp_path), "--name", "demo", "--sizes", "4"])
