"""Which models a run evaluates, and whether the test images' features under each are there; told without torch."""

import json
from typing import Any

from safetensors import safe_open

from fdbpl.pipeline.config import ModelConfig, RunConfig
from fdbpl.pipeline.datasets.data_set import DataSet
from fdbpl.pipeline.device import decoder_name
from fdbpl.pipeline.run_folder import RunFolder
from fdbpl.pipeline.weights import model_key, weights_source


def test_models(config: RunConfig) -> dict[str, ModelConfig]:
    """The models that are evaluated, by key: the teacher first, then each backbone that a student uses."""
    models: tuple[ModelConfig, ...] = (config.teacher, *config.student)
    return {model_key(model): model for model in models}


def missing_features(config: RunConfig, data: DataSet) -> list[str]:
    """The keys of the models whose test features are not there, or were made from other weights or images."""
    return [key for key, model in test_models(config).items() if not has_test_features(config, data, model)]


def has_test_features(config: RunConfig, data: DataSet, model: ModelConfig) -> bool:
    """Whether the test features of a model are there, and were made as they would be now."""
    facts = _facts(config, model)
    is_whole = not json.loads(facts.get("excluded", "[]"))
    return facts.get("fdbpl") == features_identity(config, data, model) and (
        is_whole or config.data.bad_images == "exclude"
    )


def excluded_tests(config: RunConfig) -> dict[str, str]:
    """The test images that at least one model's features lack because they cannot be read: path -> reason."""
    found = [json.loads(_facts(config, model).get("excluded", "[]")) for model in test_models(config).values()]
    return {path: reason for pairs in found for path, reason in pairs}


def _facts(config: RunConfig, model: ModelConfig) -> dict[str, str]:
    """What a model's file of test features says of itself; nothing where there is no file."""
    path = RunFolder(config.folder).test_features(model_key(model))
    if not path.exists():
        return {}
    with safe_open(path, framework="np") as file:
        return dict(file.metadata() or {})


def features_identity(config: RunConfig, data: DataSet, model: ModelConfig) -> str:
    """All that test features follow from, as JSON."""
    facts: dict[str, Any] = {
        "model": model.model,
        "source": weights_source(model.pretrained),
        "precision": model.precision,
        "images": data.test.digest,
        "decoder": decoder_name(config),
    }
    return json.dumps(facts, sort_keys=True)
