"""Which revision of a model on Hugging Face's hub a sweep uses."""

from __future__ import annotations

from . import hub, runs
from .identity import read_record
from .settings import Settings


def wanted(settings: Settings) -> str:
    """Return MODEL_REVISION; without it the commit that this sweep's adapters were trained with, "" where none is."""
    if settings.model_revision:
        return settings.model_revision
    for each in runs.trainings(settings):
        model = read_record(each.adapter / "training.json").get("decides", {}).get("model", {})
        if model.get("hub") == settings.model and model.get("revision"):
            return str(model["revision"])
    return ""


def commit(settings: Settings) -> str:
    """Return the commit of the model: of the wanted revision, or else the newest; "" where it is unknown or none.

    Raises:
        UserError: neither the hub nor the cache has the wanted revision.
    """
    on_hub = hub.is_name(settings.model) and not settings.use_modelscope_hub
    return hub.commit(settings.model, wanted(settings)) if on_hub else ""
