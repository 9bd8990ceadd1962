"""What decides a served model's answers, besides the question and the adapter."""

from __future__ import annotations

from typing import Any

from ..identity import flags_of
from ..provenance import versions
from ..settings import Settings
from .weights import model_identity

SERVING_PACKAGES = ("llamafactory", "transformers", "peft", "torch")
# LLaMA-Factory makes the chat template that `vllm serve` gets.
OF_VLLM = ("vllm", "llamafactory", "transformers", "torch")
# Flags of SERVER_ARGS that change answers, beside quantization.
CHANGES = ("dtype", "infer_dtype", "kv_cache_dtype", "hf_overrides", "rope_scaling")


def what_serves(settings: Settings) -> dict[str, Any]:
    """Return the parts of an identity that the server stands for: model, template, server, backend, their versions; and
    how the weights are quantized, where they are, and other flags that change answers.

    SERVER is the program: ``llamafactory`` (`llamafactory-cli api`, whose engine is BACKEND) or ``vllm``
    (`vllm serve`).

    Raises:
        UserError: there is no such model.
    """
    server, backend = settings["SERVER"], settings["BACKEND"]
    packages = OF_VLLM if server == "vllm" else [*SERVING_PACKAGES, *["vllm"] * (backend == "vllm")]
    installed = versions(packages)
    flags = flags_of(settings["SERVER_ARGS"])
    quantized = flags.get("quantization") or flags.get("quantization_bit")
    quantized = quantized or settings.record().get("SERVER_QUANTIZATION")  # by the hardware plan
    return {
        "model": model_identity(settings["MODEL"], settings.model_commit),
        "template": settings["TEMPLATE"],
        "server": server,
        "backend": backend,
        "versions": {package: installed[package] for package in packages if package in installed},
        **({"quantization": quantized} if quantized else {}),
        **{name: flags[name] for name in CHANGES if name in flags},
    }
