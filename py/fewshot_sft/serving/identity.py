"""What decides a served model's answers, besides the question and the adapter."""

from __future__ import annotations

from typing import Any

from ..provenance import versions
from .weights import model_identity

SERVING_PACKAGES = ("llamafactory", "transformers", "peft", "torch")
# LLaMA-Factory makes the chat template that `vllm serve` gets.
OF_VLLM = ("vllm", "llamafactory", "transformers", "torch")


def what_serves(model: str, template: str, backend: str, server: str = "llamafactory") -> dict[str, Any]:
    """Return the parts of an identity that the server stands for: model, template, server, backend, their versions.

    ``server`` is the program: ``llamafactory`` (`llamafactory-cli api`, whose engine is ``backend``) or ``vllm``
    (`vllm serve`).

    Raises:
        UserError: there is no such model.
    """
    packages = OF_VLLM if server == "vllm" else [*SERVING_PACKAGES, *(["vllm"] if backend == "vllm" else [])]
    installed = versions(packages)
    return {
        "model": model_identity(model),
        "template": template,
        "server": server,
        "backend": backend,
        "versions": {package: installed[package] for package in packages if package in installed},
    }
