"""The server as a part of what decides, and the second evaluation that lets the model answer with a label only."""
# ruff: noqa: F401, F811 - fixtures of another file

from __future__ import annotations

import json

import pytest
from openai_server import OpenAIServer
from test_evaluation import LABELS, RUN, Sweep, _environment, right, server, sweep

from fewshot_sft.errors import UserError
from fewshot_sft.evaluation.evaluation import Evaluation, set_results_aside
from fewshot_sft.program import AGAIN
from fewshot_sft.serving import prompt, served_model

VLLM = {"SERVER": "vllm", "BACKEND": "vllm"}
BOTH = VLLM | {"CONSTRAIN": "1"}


@pytest.fixture(autouse=True)
def _vllm(monkeypatch):
    monkeypatch.setattr(prompt, "read_json", lambda path: {"stop_token_ids": [7]})
    # vLLM is not installed where only the tests are.
    monkeypatch.setattr(served_model, "versions", lambda names: dict.fromkeys(names, "1.0"))


def constrained_lines(sweep: Sweep) -> list[dict]:
    return [json.loads(line) for line in (sweep.objs / f"{RUN}.constrained.predictions.jsonl").read_text().splitlines()]


def is_constrained(server: OpenAIServer, number: int) -> bool:
    return "structured_outputs" in server.requests[number].body


# --- The server ---


def test_the_server_is_noted_and_decides(sweep, server, capsys):
    assert sweep.evaluate(server) == 0
    assert (sweep.record["server"], sweep.record["backend"]) == ("llamafactory", "huggingface")
    assert sweep.lines[0]["decides"]["server"] == "llamafactory"
    server.requests.clear()

    assert sweep.evaluate(server, **VLLM) == 0

    assert (sweep.record["server"], sweep.record["backend"]) == ("vllm", "vllm")
    assert "vllm" in sweep.lines[0]["decides"]["versions"]
    assert "peft" not in sweep.lines[0]["decides"]["versions"]
    assert len(server.requests) == 6
    assert "made anew, for it is of another server, backend" in capsys.readouterr().err
    server.requests.clear()
    assert sweep.evaluate(server, **VLLM) == 0
    assert server.requests == []


# --- The second evaluation ---


def test_both_scores_are_in_the_record_and_the_free_one_is_as_without(sweep, server, capsys):
    # Outside the labels when free: the server then answers with the first label instead.
    server.answer = lambda text: "Unknown" if "text 1 " in text or "text 3 " in text else right(text)
    assert sweep.evaluate(server, **VLLM) == 0
    free = sweep.record
    server.requests.clear()
    capsys.readouterr()

    assert sweep.evaluate(server, **BOTH) == 0

    record = sweep.record
    constrained = record.pop("constrained")
    assert record == free
    assert len(server.requests) == 6  # nothing of the free one is asked again
    assert server.requests[0].body["structured_outputs"] == {"choice": LABELS}
    assert server.requests[0].body["max_tokens"] == 64
    assert server.requests[0].body["stop_token_ids"] == [7]
    assert record["counts"]["correct"] == 4
    assert record["counts"]["not_in_labels"] == 2
    assert constrained["counts"]["correct"] == 5  # item 3 is of the first label
    assert constrained["counts"]["not_in_labels"] == 0
    assert constrained["metrics"]["accuracy"] == pytest.approx(5 / 6)
    assert constrained["confusion"]["matrix"] == [[2, 0, 0, 0], [1, 1, 0, 0], [0, 0, 2, 0]]
    assert constrained["predictions"] == str(sweep.objs / f"{RUN}.constrained.predictions.jsonl")
    assert constrained["timings"]["answered"] == 6
    assert constrained["identity"] != record["identity"]
    assert sorted(line["index"] for line in constrained_lines(sweep)[1:]) == list(range(6))
    assert len(sweep.lines) == 7
    assert sum(line["pred"] == "Unknown" for line in sweep.lines[1:]) == 2
    assert capsys.readouterr().out == (
        "size 100, constrained to the labels: accuracy 0.8333, macro F1 0.8222; 0 of 6 answers outside the labels\n"
    )


def test_one_command_makes_both_and_the_next_nothing(sweep, server, capsys):
    assert sweep.evaluate(server, **BOTH) == 0

    assert [is_constrained(server, number) for number in range(12)] == [False] * 6 + [True] * 6
    assert sweep.record["constrained"]["metrics"]["accuracy"] == 1
    server.requests.clear()
    assert sweep.evaluate(server, **BOTH) == 0
    assert sweep.evaluate(server, **VLLM) == 0  # without the flag: what is there stays
    assert "constrained" in sweep.record
    assert server.requests == []
    assert capsys.readouterr().out.count("already evaluated") == 2


def test_an_interrupted_second_one_goes_on_where_it_was_and_the_free_score_stays(sweep, server, capsys):
    server.answer = right
    server.script.extend(["ok"] * 8)
    server.behave = lambda text: "500"

    assert sweep.evaluate(server, CONCURRENCY="1", **BOTH) == AGAIN

    assert "size 100, constrained: evaluation incomplete: 2 of 6 items answered, 4 not; " in capsys.readouterr().err
    assert sweep.record["metrics"]["accuracy"] == 1
    assert "constrained" not in sweep.record
    assert Evaluation(sweep.run(**BOTH)).why_made() == "constrained: 2 of 6 items have an answer"
    server.behave = lambda text: "ok"
    server.requests.clear()

    assert sweep.evaluate(server, CONCURRENCY="1", **BOTH) == 0

    assert server.asked == sweep.texts[2:]
    assert all(is_constrained(server, number) for number in range(4))
    assert sweep.record["constrained"]["timings"]["resumed"] == 2
    assert sweep.record["constrained"]["counts"]["correct"] == 6
    assert Evaluation(sweep.run(**BOTH)).why_made() is None


def test_a_free_score_made_anew_gets_the_constrained_one_back_without_asking(sweep, server):
    assert sweep.evaluate(server, **BOTH) == 0
    before = sweep.record
    (sweep.objs / f"{RUN}.json").unlink()
    server.requests.clear()

    assert sweep.evaluate(server, **BOTH) == 0

    assert server.requests == []
    for key in ("metrics", "counts", "confusion", "identity"):
        assert sweep.record["constrained"][key] == before["constrained"][key]
    assert "seconds" not in sweep.record["constrained"]["timings"]


def test_force_makes_both_anew(sweep, server, capsys):
    assert sweep.evaluate(server, **BOTH) == 0
    server.requests.clear()

    set_results_aside(sweep.run(**BOTH))
    assert sweep.evaluate(server, **BOTH) == 0

    assert len(server.requests) == 12
    kept = {name.rpartition("-")[0] for name in sweep.names if name.startswith("replaced/")}
    assert kept == {
        f"replaced/{RUN}.{end}"
        for end in ("json", "pkl", "predictions.json", "predictions.jsonl", "constrained.predictions.jsonl")
    }


def test_another_adapter_makes_both_anew(sweep, server):
    assert sweep.evaluate(server, **BOTH) == 0
    (sweep.adapter / "adapter_model.safetensors").write_text("another")
    server.requests.clear()

    assert sweep.evaluate(server, **BOTH) == 0

    assert len(server.requests) == 12
    assert constrained_lines(sweep)[0]["decides"]["choice"] == LABELS


def test_a_server_that_cannot_is_said(sweep, server):
    server.error_body = "structured_outputs is not supported"
    server.script.extend(["ok"] * 6)
    server.behave = lambda text: "400"

    with pytest.raises(UserError, match=r"^size 100, constrained: the server refuses: item \d: HTTP 400: .*not supp"):
        sweep.evaluate(server, **BOTH)

    assert sweep.record["metrics"]["accuracy"] == 1
