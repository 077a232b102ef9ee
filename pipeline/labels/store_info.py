"""The facts of a store that a person asks for first."""

from pathlib import Path
from typing import Any

from fdbpl.cache_layout.campaigns import Campaign
from fdbpl.cache_layout.encodings import EMBEDDING, LOGITS, TOPK
from fdbpl.cache_layout.error_bounds import Bound, embedding_bound, logits_bound, topk_bound
from fdbpl.cache_layout.label_sources import COLUMNS
from fdbpl.cache_layout.store import Store, open_store


def label_bounds(store: Store) -> dict[str, str]:
    """How far off labels can be, in words, for each encoding that the store holds."""
    arrays = store.arrays
    scale = store.manifest.fields.get("teacher", {}).get("logit_scale")
    bounds: dict[str, Bound] = {}
    if EMBEDDING in arrays and scale is not None:
        bounds["embedding"] = embedding_bound(scale, arrays[EMBEDDING].row_shape[0])
    if LOGITS in arrays:
        bounds["logits"] = logits_bound(arrays[LOGITS].row_shape[0])
    if TOPK[0] in arrays and COLUMNS in store.class_lists:
        bounds["topk"] = topk_bound(arrays[TOPK[0]].row_shape[0], len(store.class_list(COLUMNS)))
    return {encoding: bound.words for encoding, bound in bounds.items()}


def store_info(path: Path) -> dict[str, Any]:
    """Manifest, arrays, size, error bounds and completeness of a store. Raises CacheError where there is none."""
    store = open_store(path)
    campaigns = {name: store.campaign(name) for name in store.campaigns}
    arrays = [
        {
            "name": spec.name,
            "shape": [campaign.grid.num_images, campaign.grid.num_seeds, *spec.row_shape],
            "dtype": spec.dtype,
            "bytes_per_view": spec.row_bytes,
            "gb_per_million_views": spec.row_bytes / 1000,
        }
        for campaign in campaigns.values()
        for spec in campaign.arrays
    ]
    facts = {name: _campaign_facts(store, campaign) for name, campaign in campaigns.items()}
    return {
        "store": str(path),
        "format_version": store.version,
        "images": store.grid.num_images,
        "seeds": store.grid.num_seeds,
        "excluded": [{"path": path, "reason": reason} for path, reason in store.excluded],
        "arrays": arrays,
        "bytes_per_view": sum(array["bytes_per_view"] for array in arrays),
        "labels": label_bounds(store),
        "class_lists": {name: len(store.class_list(name)) for name in store.class_lists},
        "bytes_on_disk": sum(campaign["bytes"] for campaign in facts.values()),
        "campaigns": facts,
        "fingerprint": store.manifest.fingerprint,
        "manifest": store.manifest.fields,
    }


def _campaign_facts(store: Store, campaign: Campaign) -> dict[str, Any]:
    """How far a campaign shall reach, how much of it is written, and what its files hold."""
    sizes = store.records(campaign).size_GJA
    return {
        "images": campaign.grid.num_images,
        "seeds": campaign.grid.num_seeds,
        "blocks": campaign.grid.num_blocks,
        "blocks_present": campaign.grid.num_blocks - len(store.missing_blocks(campaign.name)),
        "sealed": campaign.is_sealed,
        "seals": len(campaign.seals),
        "withdrawn": list(campaign.withdrawn),
        "bytes": int(sizes[sizes > 0].sum()),
    }
