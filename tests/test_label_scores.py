"""Label scores: the tree of the labels' tokens, what vLLM is asked, what is kept, and the Hugging Face engine's."""
# ruff: noqa: F401, F811 - fixtures of another file

from __future__ import annotations

import asyncio
import functools
import itertools
import json
import random
from types import SimpleNamespace

import pytest
from openai_server import OpenAIServer
from test_constrain import VLLM, _vllm
from test_evaluation import LABELS, RUN, Sweep, _environment, right, server, sweep

import build_base
import label_scores
from fewshot_sft import runs
from fewshot_sft.errors import UserError
from fewshot_sft.evaluation.evaluation import set_results_aside
from fewshot_sft.evaluation.predictions import PredictionLog
from fewshot_sft.evaluation.questions import Item
from fewshot_sft.jsonio import write_json
from fewshot_sft.program import AGAIN
from fewshot_sft.serving import label_tokens
from fewshot_sft.serving.client import ChatClient, Retry
from fewshot_sft.serving.label_scorer import LabelScorer, scorer_of
from fewshot_sft.serving.label_tree import LEAST, LabelTree

NEWLINE, END = 208, 0
# "Physics", "Electricity" and "Textiles; Paper" after a line break; the first two share a token, and the third's first
# token is one of its own.
TOKENS = [[NEWLINE, 5, 6], [NEWLINE, 5, 7], [NEWLINE, 8, 9]]


def spoken(tokens: list[list[int]], shares: list[float], ends: list[int]):
    """Return the next token's probabilities of a model that says each label with its share, and 99 with the rest."""

    def next_token(text: str, said: tuple[int, ...]) -> dict[int, float]:
        found: dict[int, float] = {}
        for own, share in zip(tokens, shares, strict=True):
            whole = [*own, ends[0]]
            if tuple(whole[: len(said)]) == said and len(whole) > len(said):
                found[whole[len(said)]] = found.get(whole[len(said)], 0.0) + share
        if not said:
            found[99] = 1 - sum(shares)
        total = sum(found.values())
        return {token: share / total for token, share in found.items()} if total else {END: 1.0}

    return next_token


def scored(tokens: list[list[int]], shares: list[float], ends: list[int]) -> list[float]:
    """Return what the tree makes of that model when all is known."""
    tree = LabelTree(tokens, ends)
    next_token = spoken(tokens, shares, ends)
    known = {
        prefix: {token: next_token("", prefix).get(token, 0.0) for token in branches.asked}
        for prefix, branches in tree.branches.items()
    }
    found, more = tree.masses(known)
    assert more == []
    return found


# --- The tree ---


@pytest.mark.parametrize(
    ("tokens", "branches"),
    [
        ([[1, 2], [3, 2], [4]], {(): (1, 3, 4)}),
        (TOKENS, {(): (NEWLINE,), (NEWLINE,): (5, 8), (NEWLINE, 5): (6, 7)}),
        ([[1], [1, 2], [1, 2, 3]], {(): (1,), (1,): (2, 7, 9), (1, 2): (3, 7, 9)}),
        ([[1, 2]], {(): (1,)}),
    ],
    ids=["first tokens differ", "shared prefixes", "one is the beginning of another", "one label"],
)
def test_a_branch_is_asked_for_where_labels_part_and_nowhere_else(tokens, branches):
    tree = LabelTree(tokens, [7, 9])
    assert {prefix: each.asked for prefix, each in tree.branches.items()} == branches
    shares = [0.5 / 2**place for place in range(len(tokens))]
    assert scored(tokens, shares, [7, 9]) == pytest.approx(shares)


def test_150_labels_with_shared_prefixes():
    tokens = [[NEWLINE, 1000 + first, 2000 + second] for first, second in itertools.product(range(75), range(2))]
    shares = [number / 12000 for number in range(150)]
    assert scored(tokens, shares, [END]) == pytest.approx(shares)


def test_only_what_may_be_likelier_than_the_likeliest_label_is_asked_for():
    tree = LabelTree(TOKENS, [END])
    assert tree.masses({})[1] == [(), (NEWLINE,)]
    known = {(): {NEWLINE: 0.9}, (NEWLINE,): {8: 0.95}}
    masses, more = tree.masses(known)
    assert more == []
    assert masses == pytest.approx([0.0225, 0.0225, 0.855])  # the others share what is left
    known[NEWLINE,] = {8: 0.8}
    assert tree.masses(known)[1] == [(NEWLINE,)]  # they would share .18, which may be no label's
    known[NEWLINE,] = {8: 0.8, 9: 0.05}
    assert tree.masses(known)[1] == []  # no token that is not known is likelier than one that is
    known[NEWLINE,] = {8: 0.4, 5: 0.5}
    assert tree.masses(known)[1] == [(NEWLINE, 5)]
    known[NEWLINE, 5] = {7: 0.9}
    assert tree.masses(known) == (pytest.approx([0.045, 0.405, 0.36]), [])
    assert tree.masses({(): {NEWLINE: LEAST}})[1] == []


def test_another_label_that_may_be_as_likely_is_asked_for():
    tree = LabelTree([[5], [6]], [END])
    assert tree.masses({(): {6: 0.45}})[1] == [()]
    # An end is one of several tokens.
    tree = LabelTree([[5], [5, 6]], [0, 1, 2])
    assert tree.masses({(): {5: 1.0}, (5,): {6: 0.4}})[1] == [(5,)]
    assert tree.masses({(): {5: 1.0}, (5,): {6: 0.4, 0: 0.3, 1: 0.3}}) == (pytest.approx([0.6, 0.4]), [])


@pytest.mark.parametrize("seed", range(200))
def test_the_likeliest_label_is_that_of_the_whole_tree(seed):
    """Random labels, one the beginning of another, one to two ends, any model; an answer inside or outside of them."""
    draw = random.Random(seed)
    ends = [90, 91][: draw.randint(1, 2)]
    letters = range(draw.randint(2, 4))
    labels = list({tuple(draw.choices(letters, k=draw.randint(1, 4))) for _ in range(8)})
    vocabulary = [*letters, *ends, 99]
    steep = draw.choice((1, 3, 10))

    @functools.cache
    def model(prefix):
        shares = [random.Random(f"{seed} {prefix} {token}").random() ** steep for token in vocabulary]
        return {token: share / sum(shares) for token, share in zip(vocabulary, shares, strict=True)}

    def probability(label):
        found = 1.0
        for place in range(len(label) + 1):
            if place and sum(other[:place] == label[:place] for other in labels) == 1:
                break
            found *= sum(model(label[:place])[token] for token in (ends if place == len(label) else label[place:][:1]))
        return found

    truth = [probability(label) for label in labels]
    answer, prefix, told = [], (), draw.randint(1, 5)
    while len(prefix) < 5 and not set(prefix) & set(ends):
        following = sorted(model(prefix).items(), key=lambda each: -each[1])
        answer.append((following[0][0], dict(following[:told])))
        prefix = (*prefix, following[0][0])
    tree = LabelTree(labels, ends)
    known, more = tree.walk(answer), [()]
    while more:
        masses, more = tree.masses(known)
        for place in more:
            assert known.get(place) != model(place)
            known[place] = model(place)
    assert masses.index(max(masses)) == truth.index(max(truth)) or max(truth) <= LEAST
    assert max(masses) == pytest.approx(max(truth), abs=LEAST)


# --- The labels' tokens ---


class Characters:
    """A template that writes a line break, the label's characters, and an end; its tokenizer knows no capitals."""

    def get_stop_token_ids(self, tokenizer):
        return [1, 2]

    def encode_oneturn(self, tokenizer, turns, system):
        answer = [ord(character) for character in turns[-1]["content"].lower()]
        return [3, 4], [NEWLINE, *answer, 2, 10]


def test_a_labels_tokens_are_those_of_the_trained_answer_up_to_its_end():
    found = label_tokens.tokens(["ab", "纺织"], Characters(), None)
    assert found == [[NEWLINE, 97, 98], [NEWLINE, ord("纺"), ord("织")]]


def test_labels_that_the_tokenizer_cannot_tell_apart_have_no_scores_and_the_reason_is_kept(given, folder):
    (folder / "model").mkdir()
    settings = given(MODEL=str(folder / "model"))
    labels = ["Ab", "aB"]
    label_tokens.write(settings, labels, Characters(), None)
    with pytest.raises(UserError, match=r"^the labels 'Ab' and 'aB' are the same to the model's tokenizer$"):
        label_tokens.read(settings, labels)
    assert label_tokens.is_current(settings, labels)
    with pytest.raises(UserError, match=r"label_tokens\.json has no tokens of these labels$"):
        label_tokens.read(settings, ["a", "b"])
    assert not label_tokens.is_current(settings, ["a", "b"])


# --- Through vLLM ---


SHARES = [0.1, 0.2, 0.6]


@pytest.fixture(params=["python", "rust"])
def asked(sweep, server, request):
    """A sweep whose labels have tokens, at a server that tells their probabilities, by either front end."""
    server.rust = request.param == "rust"
    write_json(
        label_tokens.file_of(sweep.run().settings), {"labels": LABELS, "tokens": TOKENS, "ends": [END], "identity": "x"}
    )
    server.next_token = spoken(TOKENS, SHARES, [END])
    return sweep


def stored(sweep: Sweep) -> dict:
    return json.loads((sweep.objs / f"{RUN}.scores.json").read_text())


def paths(server: OpenAIServer) -> list[str]:
    return [request.path for request in server.requests]


def test_the_answer_comes_with_the_probabilities_on_its_path(asked, server):
    """The answer begins with 8: what is after 5 cannot be likelier, and shares its probability."""
    assert asked.evaluate(server, CONCURRENCY="1", **VLLM) == 0

    assert paths(server) == ["/v1/chat/completions"] * 6
    chat = server.requests[0].body
    assert chat["logprobs"] is True
    assert chat["top_logprobs"] == 5
    assert chat["logprob_token_ids"] == [NEWLINE, 5, 8, 6, 7]
    assert chat["return_tokens_as_token_ids"] is True
    assert (chat["temperature"], chat["max_tokens"], chat["stop_token_ids"]) == (0, 64, [7])
    found = stored(asked)
    assert (found["run"], found["labels"], found["identity"]) == (RUN, LABELS, asked.record["identity"])
    assert found["probabilities"] == [[0.16667, 0.16667, 0.66667]] * 6
    assert found["outside"] == [0.1] * 6
    assert asked.lines[1]["scores"] == pytest.approx([0.15, 0.15, 0.6])
    assert asked.record["scores"] == str(asked.objs / f"{RUN}.scores.json")


@pytest.mark.parametrize("shares", [[0.3, 0.3, 0.0005], [0.5, 0.4, 0.0]], ids=["on the path", "none is outside"])
def test_nothing_more_is_asked_where_the_answer_tells_all(asked, server, shares):
    server.next_token = spoken(TOKENS, shares, [END])
    assert asked.evaluate(server, **VLLM) == 0
    assert paths(server) == ["/v1/chat/completions"] * 6
    assert asked.lines[1]["scores"] == pytest.approx(shares, abs=1e-7)


def test_an_answer_that_begins_no_label_still_has_scores(asked, server):
    shares = [0.1, 0.2, 0.15]
    server.next_token = spoken(TOKENS, shares, [END])  # it says 99
    assert asked.evaluate(server, CONCURRENCY="1", **VLLM) == 0
    assert paths(server)[:4] == ["/v1/chat/completions", "/tokenize", "/v1/completions", "/v1/completions"]
    chat, tokenize, first, second = (request.body for request in server.requests[:4])
    assert tokenize == {"messages": chat["messages"], "add_generation_prompt": True}
    assert (first["prompt"][-1:], first["logprobs"]) == ([NEWLINE], 20)
    assert first["logprob_token_ids"] == second["logprob_token_ids"] == chat["logprob_token_ids"]
    assert second["prompt"][-2:] == [NEWLINE, 5]
    assert asked.lines[1]["scores"] == pytest.approx(shares)
    assert stored(asked)["outside"] == [0.55] * 6


def test_of_few_labels_nothing_more_is_asked_however_unsure_the_answer(server):
    """Labels that begin otherwise, and an answer that is none of them: the likeliest tokens would not tell."""
    tokens = [[1000 + number] for number in range(9)]
    shares = [0.01, 0.02, 0.03] * 3
    server.next_token = spread(tokens, shares)
    assert asked_of(server, tokens).scores == pytest.approx(shares)
    assert paths(server) == ["/v1/chat/completions"]
    server.rust = True
    asked_of(server, tokens)
    assert paths(server)[1:] == ["/v1/chat/completions", "/tokenize", "/v1/completions"]


@pytest.mark.parametrize(("count", "comes"), [(16, True), (17, False)])
def test_few_are_16_tokens(server, count, comes):
    tokens = [[1000 + number] for number in range(count)]
    server.next_token = spoken(tokens, [0.01] * count, [END])
    assert asked_of(server, tokens).scores == pytest.approx([0.01] * count)
    assert ("logprob_token_ids" in server.requests[0].body) == comes


def test_a_server_that_decodes_speculatively_is_not_asked_for_them(asked, server):
    assert asked.evaluate(server, SERVER_ARGS='--speculative-config \'{"model": "x"}\'', **VLLM) == 0
    assert [request.body["top_logprobs"] for request in server.requests] == [5] * 6
    assert not any("logprob_token_ids" in request.body for request in server.requests)
    assert stored(asked)["probabilities"] == [[0.16667, 0.16667, 0.66667]] * 6


def test_nothing_comes_with_the_base_models_answers(sweep):
    settings = sweep.run().settings
    (whole, none) = (scorer_of(run, (TOKENS, [END])) for run in (sweep.run(), runs.zero_shot(settings)))
    assert whole.fields["top_logprobs"] == 5
    assert none.fields == {}
    assert scorer_of(sweep.run(), ((), ())) is None


def spread(tokens: list[list[int]], shares: list[float]):
    """Return a model that says 99, or else one of 20 tokens that are each likelier than a label."""
    next_token = spoken(tokens, shares, [END])

    def with_others(text: str, said: tuple[int, ...]) -> dict[int, float]:
        found = next_token(text, said)
        if not said:
            found |= {99: found[99] - 20 * 0.031} | {2000 + number: 0.031 for number in range(20)}
        return found

    return with_others


def test_of_many_labels_those_of_the_likeliest_tokens_tell_enough(server):
    tokens = [[NEWLINE, 1000 + number] for number in range(300)]
    server.next_token = spoken(tokens, [0.1, 0.3, 0.02, 0.02, 0.02] + [0.0] * 294 + [0.5], [END])
    found = asked_of(server, tokens).scores
    assert found[:2] + found[-1:] == pytest.approx((0.1, 0.3, 0.5))
    assert paths(server) == ["/v1/chat/completions"]


def test_what_the_server_does_not_tell_is_asked_for_once(server):
    """The answer is no label, and of 300 that are alike only 20 are told."""
    tokens = [[NEWLINE, 1000 + number] for number in range(300)]
    server.next_token = spoken(tokens, [0.4 / 300] * 300, [END])
    found = asked_of(server, tokens).scores
    assert paths(server) == ["/v1/chat/completions", "/tokenize", "/v1/completions"]
    assert found == pytest.approx([0.4 / 300] * 300)


def test_scores_need_nothing_that_comes_with_an_answer(server):
    server.next_token = spoken(TOKENS, SHARES, [END])
    assert asked_of(server, TOKENS, carried=0).scores == pytest.approx([0.15, 0.15, 0.6])
    assert paths(server)[:2] == ["/v1/chat/completions", "/tokenize"]
    assert not any("logprob" in name for name in server.requests[0].body)


def asked_of(server: OpenAIServer, tokens: list[list[int]], carried: int = 5):
    """Return the answer of a client that knows other labels."""

    async def ask():
        scorer = LabelScorer(LabelTree(tuple(map(tuple, tokens)), (END,)), carried)
        client = ChatClient(
            server.base_url, "served", "0", max_tokens=7, timeout=20.0, retry=Retry(1, 0.0), scorer=scorer
        )
        try:
            return await client.ask("Choose.", "text about Physics")
        finally:
            await client.close()

    return asyncio.run(ask())


def test_only_the_free_asking_has_them(asked, server):
    assert asked.evaluate(server, CONSTRAIN="1", **VLLM) == 0
    assert stored(asked)["outside"] == [0.1] * 6
    constrained = [request.body for request in server.requests if "structured_outputs" in (request.body or {})]
    assert len(constrained) == 6
    assert not any("logprobs" in body for body in constrained)


@pytest.mark.parametrize("trouble", ["none is told", "all are 0", "no continuation"])
def test_answers_count_without_scores_and_the_reason_is_kept(asked, server, trouble):
    if trouble == "none is told":
        server.next_token = None
    elif trouble == "all are 0":
        server.next_token = lambda text, said: {END: 1.0} if said else {99: 1.0}
    else:
        server.next_token = spoken(TOKENS, [0.1, 0.2, 0.15], [END])
        server.behave = lambda text: "ok" if text else "400"
    assert asked.evaluate(server, **VLLM) == 0
    assert asked.record["metrics"]["accuracy"] == 1
    assert stored(asked)["absent"] == "6 of 6 answers came without label scores"


def test_the_scores_change_neither_the_identity_nor_the_answers(asked, server):
    assert asked.evaluate(server, **VLLM) == 0
    record, (header, first, *_) = asked.record, asked.lines
    label_tokens.file_of(asked.run().settings).unlink()
    assert asked.evaluate(server, **VLLM) == 0  # nothing is made anew without the tokens
    assert asked.record == record

    set_results_aside(asked.run(**VLLM))
    assert asked.evaluate(server, **VLLM) == 0
    assert asked.record["identity"] == record["identity"]
    assert asked.lines[0] == header
    again = next(line for line in asked.lines[1:] if line["index"] == first["index"])  # they come in any order
    assert {**again, "seconds": 0, "scores": 0} == {**first, "seconds": 0, "scores": 0}
    assert "scores" not in again
    assert stored(asked)["absent"].endswith("label_tokens.json has no tokens of these labels")


def test_an_interrupted_evaluation_keeps_the_scores_that_it_had(asked, server):
    server.behave = lambda text: "500" if "text 4" in text else "ok"
    assert asked.evaluate(server, CONCURRENCY="1", **VLLM) == AGAIN
    assert not (asked.objs / f"{RUN}.scores.json").exists()
    server.behave = lambda text: "ok"
    server.requests.clear()
    assert asked.evaluate(server, **VLLM) == 0
    assert server.asked.count(asked.texts[4]) == 1
    assert len(stored(asked)["probabilities"]) == 6


def test_a_line_whose_scores_are_damaged_is_an_answer_without(asked, server):
    assert asked.evaluate(server, **VLLM) == 0
    path = asked.objs / f"{RUN}.predictions.jsonl"
    path.write_text(path.read_text().replace('"scores": [0.15, ', '"scores": [1.15, ', 1))
    log = PredictionLog(path, {})
    log.close()
    assert log.damaged == 0
    assert [each.scores is None for each in log.predictions.values()].count(True) == 1


def test_llamafactory_is_asked_as_before(asked, server):
    assert asked.evaluate(server) == 0
    assert "logprobs" not in server.requests[0].body
    assert not (asked.objs / f"{RUN}.scores.json").exists()


# --- Through transformers and peft ---


def test_the_hugging_face_engines_are_those_of_the_model_token_by_token(given, folder):
    """A small GLM and an adapter with random weights: batches, padding and the common start change nothing."""
    torch = pytest.importorskip("torch")
    peft = pytest.importorskip("peft")
    from transformers import GlmConfig, GlmForCausalLM

    from fewshot_sft.evaluation import local_scores

    model_folder = folder / "model"
    model_folder.mkdir()
    build_base.make_tokenizer(build_base.corpus(100, 1), 500, model_folder)
    torch.manual_seed(0)
    config = GlmConfig(
        vocab_size=600, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, pad_token_id=0, initializer_range=0.5,
    )  # fmt: skip
    GlmForCausalLM(config).save_pretrained(model_folder)
    settings = given(MODEL=str(model_folder), SIZES="4 8")
    trained, other = runs.trainings(settings)
    lora = peft.LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights=False)
    for each in (trained, other):
        peft.get_peft_model(GlmForCausalLM.from_pretrained(model_folder), lora).save_pretrained(each.adapter)
    labels = ["Physics", "Physics and more", "Electricity"]
    texts = ["a rotor", "a rotor , driven by a motor and a belt", "cotton"]
    data = SimpleNamespace(labels=labels, items=[Item("Which one?", text, labels[0]) for text in texts])

    found = dict(local_scores.masses([trained, runs.zero_shot(settings), other], data, settings))

    assert list(found) == [runs.zero_shot(settings), trained, other]
    template, tokenizer = label_tokens.template_of(settings)
    ends = template.get_stop_token_ids(tokenizer)
    tokens = label_tokens.tokens(labels, template, tokenizer)
    assert tokens[1][: len(tokens[0])] == tokens[0]
    tree = LabelTree(tokens, ends)
    for run, masses in found.items():
        model = GlmForCausalLM.from_pretrained(model_folder).eval()
        if run.is_trained:
            model = peft.PeftModel.from_pretrained(model, str(run.adapter)).eval()
        for item, own in zip(data.items, masses, strict=True):
            turns = [{"role": "user", "content": item.input}, {"role": "assistant", "content": ""}]
            prompt, _ = template.encode_oneturn(tokenizer, turns, item.instruction)
            known = {}
            for prefix, branches in tree.branches.items():
                with torch.inference_mode():
                    next_token = model(torch.tensor([[*prompt, *prefix]])).logits[0, -1].softmax(-1)
                known[prefix] = {token: float(next_token[token]) for token in branches.asked}
            assert own == pytest.approx(tree.masses(known)[0], rel=1e-3)
    assert found[trained] != found[other] != found[runs.zero_shot(settings)]


def program(settings, monkeypatch, small: bool = True) -> int:
    monkeypatch.setattr(label_scores, "is_small", lambda settings: small)
    for name in label_scores.QUIET:  # it sets them for good, and other tests want bars
        monkeypatch.setenv(name, "")
    return label_scores.main([])


def test_what_cannot_be_scored_is_said_in_the_file_and_fails_nothing(sweep, server, monkeypatch, capsys):
    """The model of this sweep is none."""
    assert sweep.evaluate(server) == 0
    monkeypatch.setenv("FEWSHOT_SETTINGS", str(sweep.folder / "settings.json"))
    assert program(sweep, monkeypatch, small=False) == 0
    assert not (sweep.objs / f"{RUN}.scores.json").exists()
    assert program(sweep, monkeypatch) == 0
    found = stored(sweep)
    assert found["identity"] == sweep.record["identity"]
    assert found["absent"].startswith("its labels could not be scored: ")
    assert capsys.readouterr().err.endswith(f"warning: label scores: {found['absent']}\n")
    monkeypatch.setattr(label_scores.questions, "load", lambda *_: pytest.fail("it is tried again"))
    assert program(sweep, monkeypatch) == 0


def test_labels_of_one_token_each_are_told_by_the_first_position():
    tree = LabelTree(((7,), (8,)), (END,))
    assert tree.twigs == [()]
    assert tree.masses({(): {7: 0.5, 8: 0.25}}) == ([0.5, 0.25], [])
