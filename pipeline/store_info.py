"""The facts of a store that a person asks for first."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from fdbpl.cache_layout.store import open_store


def store_info(path: Path) -> dict[str, Any]:
    """Manifest, arrays, size and completeness of a store. Raises CacheError where there is none."""
    store = open_store(path)
    arrays = [
        {
            "name": spec.name,
            "shape": [store.grid.num_images, store.grid.num_seeds, *spec.row_shape],
            "dtype": spec.dtype,
            "bytes_per_view": math.prod(spec.row_shape) * np.dtype(spec.dtype).itemsize,
        }
        for specs in store.campaigns.values()
        for spec in specs
    ]
    return {
        "store": str(path),
        "images": store.grid.num_images,
        "seeds": store.grid.num_seeds,
        "arrays": arrays,
        "bytes_per_view": sum(array["bytes_per_view"] for array in arrays),
        "bytes_on_disk": sum(file.stat().st_size for file in path.rglob("*") if file.is_file()),
        "campaigns": {
            name: {
                "blocks": len(store.blocks(name)),
                "blocks_present": len(store.blocks(name)) - len(store.missing_blocks(name)),
                "sealed": store.campaign(name).is_sealed,
            }
            for name in store.campaigns
        },
        "fingerprint": store.manifest.fingerprint,
        "manifest": store.manifest.fields,
    }
