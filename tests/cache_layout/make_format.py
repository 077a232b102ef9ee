"""Writes the store of the current format version that stays as a fixture: run once for each version, by hand.

python tests/cache_layout/make_format.py
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
from store_example import arguments, make_images, read_everything, rows_of_block

from fdbpl.cache_layout.array_spec import ArraySpec
from fdbpl.cache_layout.create import create_store
from fdbpl.cache_layout.grow import add_campaign, add_images, grow_campaign
from fdbpl.cache_layout.reader import open_reader
from fdbpl.cache_layout.seal import seal
from fdbpl.cache_layout.store import FORMAT_VERSION, Store
from fdbpl.cache_layout.writer import write_block

STUDENT = ArraySpec(name="student/x/embedding", row_shape=(2,), dtype="float16")


def fill(store: Store, campaign: str) -> None:
    for block in store.missing_blocks(campaign):
        write_block(store, campaign, block, rows_of_block(store, block, campaign))
    seal(store.path, campaign)


def main(folder: Path) -> None:
    store = create_store(folder / "store.zarr", **arguments(num_seeds=2))
    fill(store, "teacher")
    store = grow_campaign(store, "teacher", add_images(store, make_images(3, first=10)).grown(num_seeds=4))
    fill(store, "teacher")
    fill(add_campaign(store, "student/x", [STUDENT], {"model": "x"}), "student/x")
    with open_reader(store.path) as reader:
        arrays = {
            name: {
                "dtype": values.dtype.name,
                "shape": list(values.shape),
                "sha256": hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest(),
            }
            for name, values in read_everything(reader).items()
        }
        facts = {"images": reader.images.digest, "fingerprint": reader.manifest.fingerprint, "arrays": arrays}
    (folder / "expected.json").write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    target = Path(__file__).parent / "formats" / str(FORMAT_VERSION)
    if target.exists():
        sys.exit(f"{target} is there: a fixture is never made again")
    main(target)
