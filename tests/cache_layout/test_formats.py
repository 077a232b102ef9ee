"""Stores of every format version, as they were written by the version of the program that made them."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from store_example import make_classes, make_images, read_everything, rows_of_block

from fdbpl.cache_layout.array_spec import ArraySpec
from fdbpl.cache_layout.errors import CacheError, DamagedFile
from fdbpl.cache_layout.grow import add_campaign, add_class_list
from fdbpl.cache_layout.reader import open_reader
from fdbpl.cache_layout.seal import seal
from fdbpl.cache_layout.store import FORMAT_VERSION, open_store
from fdbpl.cache_layout.writer import write_block

FORMATS = Path(__file__).parent / "formats"
VERSIONS = sorted(int(folder.name) for folder in FORMATS.iterdir())


def test_there_is_a_store_of_every_version():
    assert list(range(1, FORMAT_VERSION + 1)) == VERSIONS


@pytest.mark.parametrize("check_planes", [False, True])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_store_is_read_as_it_was_written(version, check_planes):
    expected = json.loads((FORMATS / str(version) / "expected.json").read_bytes())
    with open_reader(FORMATS / str(version) / "store.zarr", check_planes=check_planes) as reader:
        for _ in range(2):
            for name, values in read_everything(reader).items():
                facts = expected["arrays"][name]
                assert [values.dtype.name, list(values.shape)] == [facts["dtype"], facts["shape"]]
                assert hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest() == facts["sha256"], name
                planes = [reader.read_plane(name, seed) for seed in range(reader.num_seeds)]
                assert np.array_equal(np.stack(planes, axis=1), values)
        assert list(expected["arrays"]) == list(reader.arrays)
        assert reader.manifest.fingerprint == expected["fingerprint"]
        assert reader.images.digest == expected["images"]
        assert reader.images == make_images(reader.num_images)
        assert reader.class_list("base").digest == make_classes().digest
        assert reader.campaign_manifest("student/x") == {"model": "x"}


@pytest.fixture
def old(tmp_path) -> Path:
    return Path(shutil.copytree(FORMATS / "1/store.zarr", tmp_path / "store.zarr"))


def test_an_old_store_is_not_added_to(old):
    store = open_store(old)
    block = store.blocks("teacher")[0]
    changes = [
        lambda: add_campaign(store, "new", [ArraySpec(name="new", row_shape=(), dtype="int8")]),
        lambda: add_class_list(store, make_classes("new")),
        lambda: write_block(store, "teacher", block, rows_of_block(store, block)),
        lambda: seal(old),
    ]
    for change in changes:
        with pytest.raises(CacheError, match="has format version 1, expected 2 to add to it"):
            change()


def test_damage_to_an_old_store_is_noticed(old):
    shard = old / "crop/box/c.0.0.0"
    data = bytearray(shard.read_bytes())
    data[1] ^= 1
    shard.chmod(0o644)
    shard.write_bytes(data)
    with (
        open_reader(old, check_planes=True) as reader,
        pytest.raises(DamagedFile, match=r"crop/box/c.0.0.0: found crc32c .* in the plane of seed 0 \(images 0 to 3\)"),
    ):
        reader.read("crop/box", [0], [0])
    group = old / "records/teacher/zarr.json"
    group.chmod(0o644)
    group.write_text(group.read_text().replace('"blocks": 9', '"blocks": 9').replace('"size": 1', '"size": 2', 1))
    with pytest.raises(CacheError, match=r"records/teacher/zarr.json: found records with digest"):
        open_reader(old)
