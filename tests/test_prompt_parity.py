"""The prompt that is trained is the prompt that is served: token for token, with LLaMA-Factory's own code."""

from __future__ import annotations

from pathlib import Path

import pytest

import build_base
from fewshot_sft.data import dataset_info
from fewshot_sft.data.prompts import alpaca_row, render_instruction
from fewshot_sft.data.tiny_corpus import LABELS
from fewshot_sft.jsonio import write_json
from fewshot_sft.preflight import lengths, templates

ROW = alpaca_row("A rotor ,\n\ndriven by 文字 .", LABELS[1], render_instruction(LABELS))
# GLM-4's own, without its tools, as llama.cpp's test-chat-template.cpp quotes it.
GLM4 = (
    "[gMASK]<sop>{% for item in messages %}{% if item['content'] %}<|{{ item['role'] }}|>{{ item['metadata'] }}\n"
    "{{ item['content'] }}{% endif %}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tiny profile's tokenizer."""
    folder = tmp_path_factory.mktemp("a model")
    build_base.make_tokenizer(build_base.corpus(100, 1), 500, folder)
    return folder


def encode(model: Path, template: str, data: Path):
    """Return tokenizer, what the trainer makes of ROW (ids, labels), the prompt of `llamafactory-cli api`, messages."""
    from llamafactory.api.chat import _process_request
    from llamafactory.api.protocol import ChatCompletionRequest
    from llamafactory.data.converter import AlpacaDatasetConverter
    from llamafactory.data.parser import get_dataset_list
    from llamafactory.data.processor import SupervisedDatasetProcessor
    from llamafactory.data.template import get_template_and_fix_tokenizer
    from llamafactory.hparams import DataArguments
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(model))
    arguments = DataArguments(template=template, dataset_dir=str(data), cutoff_len=4096)
    used = get_template_and_fix_tokenizer(tokenizer, arguments)

    write_json(data / "llm_train_1.json", [ROW])
    write_json(data / dataset_info.FILE, dataset_info.register({}, ["llm_train_1"]))
    (registered,) = get_dataset_list(["llm_train_1"], str(data))
    example = AlpacaDatasetConverter(registered, arguments)(ROW)
    trained = SupervisedDatasetProcessor(used, tokenizer, None, arguments)._encode_data_example(
        *(example[f"_{part}"] for part in ("prompt", "response", "system", "tools")), [], [], []
    )

    messages = [{"role": "system", "content": ROW["instruction"]}, {"role": "user", "content": ROW["input"]}]
    asked, system, tools, *_ = _process_request(ChatCompletionRequest(model="x", messages=messages))
    # As HuggingfaceEngine and VllmEngine do it.
    prompt, _ = used.encode_oneturn(tokenizer, [*asked, {"role": "assistant", "content": ""}], system, tools)
    return tokenizer, trained, prompt, messages


def test_training_sees_the_prompt_that_the_server_builds(model, folder):
    tokenizer, (ids, labels), prompt, _ = encode(model, "glm4", folder)
    assert ids[: len(prompt)] == prompt
    assert labels[: len(prompt)] == [-100] * len(prompt)
    assert labels[len(prompt) :] == ids[len(prompt) :]
    assert tokenizer.decode(ids[len(prompt) :]) == f"\n{LABELS[1]}<|endoftext|>"
    assert (
        tokenizer.decode(prompt) == f"[gMASK]<sop><|system|>\n{ROW['instruction']}<|user|>\n{ROW['input']}<|assistant|>"
    )


def test_vllm_serve_with_the_chat_template_that_llamafactory_saves_builds_the_same(model, folder):
    tokenizer, _, prompt, messages = encode(model, "glm4", folder)
    assert tokenizer.chat_template
    rendered = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    assert rendered == prompt


def test_vllm_serve_with_glm4s_own_chat_template_builds_the_same(model, folder):
    tokenizer, _, prompt, messages = encode(model, "glm4", folder)
    own = tokenizer.apply_chat_template(messages, chat_template=GLM4, add_generation_prompt=True, return_dict=False)
    assert own == prompt


def test_another_template_is_noticed(model, folder):
    """What these tests compare does differ when it should."""
    _, _, prompt, messages = encode(model, "glm4", folder)
    tokenizer, (ids, _), other, _ = encode(model, "alpaca", folder)
    assert ids[: len(other)] == other
    assert other != prompt
    assert tokenizer.apply_chat_template(messages, chat_template=GLM4, return_dict=False) != other


@pytest.mark.parametrize("template", ["glm4", "alpaca"])
def test_the_preflight_counts_the_tokens_that_the_trainer_sees(model, folder, template):
    _, (ids, _), _, _ = encode(model, template, folder)
    slots = templates.registered(templates.source())[template]
    assert lengths.token_lengths([ROW], model / "tokenizer.json", slots)[0] == [len(ids)]


def test_all_templates_of_llamafactory_are_read_from_its_source():
    from llamafactory.data.template import TEMPLATES

    assert set(templates.registered(templates.source())) == set(TEMPLATES)
