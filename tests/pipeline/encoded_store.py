"""Stores of a finished run's teacher and views in other encodings."""

from pathlib import Path

from fdbpl.cache_layout.seal import seal
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.labels.manifest import CAMPAIGN
from fdbpl.pipeline.labels.teach import prepare_store, teach_block


def store_of(taught: RunConfig, folder: Path, labels: tuple[str, ...], top_k: int) -> RunConfig:
    """A sealed store of the same teacher and views, in these encodings."""
    changes = {"path": folder / "store.zarr", "labels": labels, "top_k": top_k}
    config = taught.model_copy(update={"store": taught.store.model_copy(update=changes), "student": ()})
    store = prepare_store(config)
    for block in store.missing_blocks(CAMPAIGN):
        teach_block(config, block.id, lambda done, total: None)
    seal(store.path, CAMPAIGN)
    return config
