"""Whether a student's features of the world's test crops are there; told without torch."""

import json
from pathlib import Path

from safetensors import safe_open

from fdbpl.pipeline.config import ModelConfig, RunConfig
from fdbpl.pipeline.data.load import load_data
from fdbpl.pipeline.device import decoder_name
from fdbpl.pipeline.run_folder import RunFolder
from fdbpl.pipeline.weights import model_key, weights_source

# Of the crops; no training has them.
SEEDS = (100_000, 100_001)


def crop_file(config: RunConfig, model: ModelConfig) -> Path:
    return RunFolder(config.folder).test_features(f"{model_key(model)}@crops")


def has_crop_features(config: RunConfig, model: ModelConfig) -> bool:
    """Whether they are there, and were made as they would be now."""
    path = crop_file(config, model)
    if not path.exists():
        return False
    with safe_open(path, framework="np") as file:
        return bool((file.metadata() or {}).get("fdbpl") == crop_identity(config, model))


def crop_identity(config: RunConfig, model: ModelConfig) -> str:
    """All that features of crops follow from, as JSON."""
    facts = {
        "model": model.model,
        "source": weights_source(model.pretrained),
        "images": load_data(config.data).test.digest,
        "crops": config.crops.model_dump(mode="json", exclude={"seeds"}),
        "seeds": SEEDS,
        "decoder": decoder_name(config),
    }
    return json.dumps(facts, sort_keys=True)
