"""Stores that are not whole: every reader names what is wrong, and none returns a fill value."""

from __future__ import annotations

import json
import os
import resource
import shutil
from dataclasses import replace

import numpy as np
import pytest
from store_example import SPECS, arguments, make_images, overwrite, rows_of, rows_of_block

from fdbpl.cache_layout.array_spec import ArraySpec
from fdbpl.cache_layout.create import create_store
from fdbpl.cache_layout.errors import CacheError, DamagedFile, MissingBlocks, UnknownArray, UnsealedStore
from fdbpl.cache_layout.grow import add_campaign
from fdbpl.cache_layout.mapping import MappedRange
from fdbpl.cache_layout.reader import open_reader
from fdbpl.cache_layout.shard import crc32c
from fdbpl.cache_layout.store import open_store
from fdbpl.cache_layout.tables import put_images
from fdbpl.cache_layout.writer import write_block

# Newer Pythons warn of every fork beside threads; zarr-python keeps some, and resets them in the child.
pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")

STUDENT = ArraySpec(name="student/x/embedding", row_shape=(2,), dtype="float16")


def half_written(path):
    store = create_store(path, **arguments())
    for block in store.blocks("teacher"):
        if block.id != "1.1":
            write_block(store, "teacher", block, rows_of_block(store, block))
    return store


def test_an_unsealed_store_is_refused_with_what_is_missing(tmp_path):
    store = half_written(tmp_path / "store")
    with pytest.raises(UnsealedStore) as caught:
        open_reader(store.path)
    assert caught.value.missing == {"teacher": ("1.1",)}
    assert "missing blocks 1.1" in str(caught.value) and "`fdbpl teach CONFIG`" in str(caught.value)


def test_an_unsealed_store_read_on_request(tmp_path):
    store = half_written(tmp_path / "store")
    with open_reader(store.path, allow_unsealed=True) as reader:
        for spec in SPECS:
            got = reader.read(spec.name, [3, 4, 8], [4, 0, 2])
            assert np.array_equal(got, rows_of(spec, store)[[3, 4, 8], [4, 0, 2]])
        with pytest.raises(MissingBlocks, match=r"crop/box/c.1.1.0: not written yet"):
            reader.read("crop/box", [0, 5], [0, 3])
        reader.prefetch("crop/box", 3)


def test_a_file_without_a_record_is_not_trusted(tmp_path):
    store = half_written(tmp_path / "store")
    (store.path / ".records/teacher/0.0.json").unlink()
    with (
        open_reader(store.path, allow_unsealed=True) as reader,
        pytest.raises(MissingBlocks, match=r"c.0.0.0: not written yet"),
    ):
        reader.read("crop/box", [0], [0])


def test_only_the_campaigns_asked_for_must_be_sealed(sealed):
    add_campaign(open_store(sealed), "student/x", [STUDENT])
    with pytest.raises(UnsealedStore, match=r"campaign student/x: missing blocks 0.0, 0.1"):
        open_reader(sealed)
    with open_reader(sealed, campaigns=["teacher"]) as reader:
        reader.read("crop/box", [0], [0])
        with pytest.raises(UnsealedStore, match="student/x"):
            reader.read("student/x/embedding", [0], [0])
    with pytest.raises(UnknownArray, match="no campaign 'nobody'"):
        open_reader(sealed, campaigns=["nobody"])


def test_a_missing_file_is_an_error_not_a_fill_value(sealed):
    (sealed / "teacher/logits/c.2.0.0").unlink()
    with open_reader(sealed) as reader:
        with pytest.raises(MissingBlocks, match=r"teacher/logits/c.2.0.0"):
            reader.read("teacher/logits", [0, 9], [0, 0])
        with pytest.raises(MissingBlocks, match=r"teacher/logits/c.2.0.0"):
            reader.read_plane("teacher/logits", 1)
        reader.read("teacher/logits", [0], [0])
        reader.read("teacher/embedding", [9], [0])


def test_a_missing_plane_is_an_error_not_a_fill_value(sealed):
    path = sealed / "teacher/logits/c.0.0.0"
    data = path.read_bytes()
    index = np.frombuffer(data[-36:-4], "<u8").copy()
    index[2:] = 2**64 - 1
    overwrite(path, data[:-36] + index.tobytes() + crc32c(index.tobytes()))
    with open_reader(sealed) as reader, pytest.raises(MissingBlocks, match=r"logits/c.0.0.0: .*a plane"):
        reader.read("teacher/logits", [0], [0])


def truncated(data):
    return data[:-1]


def emptied(_):
    return b""


def grown(data):
    return data + bytes(8)


def index_flipped(data):
    return data[:-20] + bytes([data[-20] ^ 1]) + data[-19:]


def crc_flipped(data):
    return data[:-1] + bytes([data[-1] ^ 1])


def pointing_outside(data):
    index = np.frombuffer(data[-36:-4], "<u8").copy()
    index[0] = len(data) - 30
    return data[:-36] + index.tobytes() + crc32c(index.tobytes())


@pytest.mark.parametrize("fault", [truncated, emptied, grown, index_flipped, crc_flipped, pointing_outside])
def test_damaged_files_are_named(sealed, fault):
    path = sealed / "crop/box/c.1.0.0"
    overwrite(path, fault(path.read_bytes()))
    with open_reader(sealed) as reader, pytest.raises(DamagedFile, match=r"crop/box/c.1.0.0: "):
        reader.read("crop/box", [5], [0])


def test_another_codec_is_refused(sealed):
    path = sealed / "crop/box/zarr.json"
    document = json.loads(path.read_bytes())
    document["codecs"][0]["configuration"]["codecs"].append({"name": "zstd"})
    overwrite(path, json.dumps(document).encode())
    with open_reader(sealed) as reader, pytest.raises(CacheError, match=r"crop/box/zarr.json: .* codecs: found"):
        reader.read("crop/box", [0], [0])


def test_a_limit_on_address_space_is_reported():
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
        try:
            MappedRange(1 << 40)
        except OSError as error:
            fine = "limit on address space (ulimit -v) is 4294967296 bytes" in str(error)
            os._exit(0 if fine else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_an_image_index_that_the_seal_does_not_vouch_for(sealed):
    """Whole in itself, and of other images."""
    shutil.rmtree(sealed / "images/0")
    put_images(sealed / "images/0", replace(make_images(), labels_N=np.zeros(10, int)))
    with open_reader(sealed) as reader, pytest.raises(DamagedFile, match=r"images/0: found digest .*, as sealed"):
        _ = reader.images
