"""Write LLaMA-Factory's chat template as Jinja for `vllm serve`, and prove that it builds the prompt that was trained.

    python py/chat_template.py

vLLM renders the tokenizer's own template by default, which need not be the one that LLaMA-Factory trains with. The file
is saves/<model>/<template>.jinja; beside it <template>.json is left: the token ids that end an answer, which the client
sends along, how many prompts were compared, and some of them with their token ids. objs/<sweep>/label_tokens.json gets
the labels' tokens, by which their probabilities are asked for. Nothing is done when all are there already for this
model, template and version.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from fewshot_sft import base_model
from fewshot_sft.errors import UserError
from fewshot_sft.identity import read_record
from fewshot_sft.jsonio import read_json, sha256_file, sha256_json, write_bytes, write_json
from fewshot_sft.program import run
from fewshot_sft.provenance import versions
from fewshot_sft.serving import label_tokens
from fewshot_sft.serving.prompt import template_file
from fewshot_sft.serving.weights import tokenizer_identity
from fewshot_sft.settings import Settings

SCHEMA = 2
COMPARED = 50  # items of the data
KEPT = 5  # prompts
# Where renderers differ, if they do: no system turn, braces and quotes, blanks at the ends, special tokens in the text.
ODD = [
    ("", "no system message"),
    ("'quoted' \"system\"\n\n with {{ braces }} {% raw %} and \\backslash\\n", "  blanks, 文字, tab\t and trailing \n"),
    (" starts with a blank", "\nstarts with a line break"),
]


def export(settings: Settings, items: list[tuple[str, str]]) -> dict[str, Any]:
    """Return ``{"jinja", "stop_token_ids", "compared", "prompts"}`` of LLaMA-Factory's template for the model.

    Args:
        settings: of the sweep.
        items: (system, user) turns; for each the prompt's token ids are built both ways.

    Raises:
        UserError: the template has no Jinja form, or that form builds other token ids.
    """
    from transformers import AutoTokenizer

    template, instead = settings["TEMPLATE"], "serve it with SERVER=llamafactory"
    plain = base_model.load(AutoTokenizer, settings)  # as vllm serve has it
    known, fixed = label_tokens.template_of(settings)
    try:
        jinja = known._get_jinja_template(fixed)
    except ValueError as error:
        raise UserError(f"template {template} has no form that vLLM can use ({error}); {instead}") from None
    pairs, prompts = [*ODD, *items], list[dict[str, Any]]()
    for system, user in pairs:
        turns = [{"role": "user", "content": user}]
        trained, _ = known.encode_oneturn(fixed, [*turns, {"role": "assistant", "content": ""}], system or None)
        if system:
            turns.insert(0, {"role": "system", "content": system})
        served = plain.apply_chat_template(turns, chat_template=jinja, add_generation_prompt=True, return_dict=False)
        if list(served) != list(trained):
            raise UserError(
                f"template {template}: vLLM would build another prompt than was trained, first for the text "
                f"{user[:60]!r}; {instead}"
            )
        prompts.append({"messages": turns, "tokens": list(trained)})
    ends = sorted(known.get_stop_token_ids(fixed))
    return {"jinja": jinja, "stop_token_ids": ends, "compared": len(pairs), "prompts": prompts[:KEPT]}


def main(argv: list[str]) -> int:
    """Write the template and its record, unless they are there."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args(argv)
    settings = Settings.read()
    template, out = settings["TEMPLATE"], template_file(settings)
    decides = {
        "template": template,
        "tokenizer": tokenizer_identity(settings["MODEL"], settings.model_commit),
        "versions": versions(("llamafactory", "transformers")),
    }
    record = out.with_suffix(".json")
    before = read_record(record)
    head = {"schema": SCHEMA, "kind": "chat template", "identity": sha256_json(decides), **decides}
    is_there = out.is_file() and before == before | head | {"sha256": sha256_file(out)}
    if not is_there:
        rows = read_json(settings.data_dir / "llm_test.json")[:COMPARED]
        found = export(settings, [(row["instruction"], row["input"]) for row in rows])
        write_bytes(out, found.pop("jinja").encode())
        write_json(record, head | {"sha256": sha256_file(out), **found})
        print(f"chat template {template}: written for vLLM, {found['compared']} prompts compared", file=sys.stderr)
    labels = read_json(settings.data_dir / "manifest.json")["labels"]
    if labels and not label_tokens.is_current(settings, labels):
        label_tokens.write(settings, labels, *label_tokens.template_of(settings))
    return 0


if __name__ == "__main__":
    run(main)
