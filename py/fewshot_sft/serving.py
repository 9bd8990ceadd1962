"""What decides a served model's answers, besides the question and the adapter."""

from __future__ import annotations

from typing import Any

from .provenance import versions
from .weights import model_identity

SERVING_PACKAGES = ("llamafactory", "transformers", "peft", "torch")


def what_serves(model: str, template: str, backend: str) -> dict[str, Any]:
    """Return the parts of an identity that the server stands for: model, template, backend and their versions.

    Raises:
        UserError: there is no such model.
    """
    packages = [*SERVING_PACKAGES, *(["vllm"] if backend == "vllm" else [])]
    installed = versions(packages)
    return {
        "model": model_identity(model),
        "template": template,
        "backend": backend,
        "versions": {package: installed[package] for package in packages if package in installed},
    }
