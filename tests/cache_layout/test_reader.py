"""Reading through maps: what zarr-python reads, in any order, buffer and process."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from store_example import (
    FIELDS,
    NUM_IMAGES,
    NUM_SEEDS,
    SPECS,
    arguments,
    make_classes,
    make_images,
    read_everything,
    rows_of,
)

from fdbpl.cache_layout.create import create_store
from fdbpl.cache_layout.errors import (
    ManifestMismatch,
    UnknownArray,
    ViewOutOfRange,
)
from fdbpl.cache_layout.manifest import Manifest
from fdbpl.cache_layout.reader import open_reader
from fdbpl.cache_layout.store import open_store

# Newer Pythons warn of every fork beside threads; zarr-python keeps some, and resets them in the child.
pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")

NAMES = [spec.name for spec in SPECS]


def same(left, right):
    return left.keys() == right.keys() and all(
        left[name].dtype == right[name].dtype and np.array_equal(left[name], right[name]) for name in left
    )


def test_reads_exactly_what_zarr_python_reads(undisturbed):
    group = zarr.open_group(str(undisturbed), mode="r")
    store = open_store(undisturbed)
    with open_reader(undisturbed) as reader:
        got = read_everything(reader)
    assert same(got, {name: group[name][...] for name in NAMES})
    assert same(got, {spec.name: rows_of(spec, store) for spec in SPECS})


def test_what_a_reader_says_of_its_store(undisturbed):
    reader = open_reader(undisturbed)
    assert (reader.num_images, reader.num_seeds) == (NUM_IMAGES, NUM_SEEDS)
    assert reader.manifest == Manifest(FIELDS)
    assert reader.images == make_images()
    assert reader.class_lists == ("base",)
    assert reader.class_list("base").digest == make_classes().digest
    assert list(reader.arrays) == NAMES
    assert reader.shape("crop/box") == (10, 5, 4)
    assert reader.shape("crop/flip") == (10, 5)
    assert reader.dtype("teacher/embedding") == np.float16


@settings(max_examples=60, deadline=None)
@given(views=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4)), max_size=30), name=st.sampled_from(NAMES))
def test_any_batch(undisturbed, views, name):
    images, seeds = (np.array(axis, np.int64) for axis in (zip(*views, strict=True) if views else ([], [])))
    store = open_store(undisturbed)
    expected = rows_of(store.arrays[name], store)[images, seeds]
    with open_reader(undisturbed) as reader:
        got = reader.read(name, images, seeds)
        assert got.dtype == expected.dtype and got.shape == expected.shape
        assert np.array_equal(got, expected)
        out = np.zeros_like(expected)
        assert reader.read(name, images.astype(np.uint8), seeds.astype(np.int32), out=out) is out
        assert np.array_equal(out, expected)


def test_rows_are_copies(undisturbed):
    with open_reader(undisturbed) as reader:
        rows = reader.read("crop/box", [0], [0])
        rows[:] = -1
        assert (reader.read("crop/box", [0], [0]) != -1).any()


@pytest.mark.parametrize(
    "out",
    [
        np.zeros((2, 4), np.int64),
        np.zeros((3, 4), np.int32),
        np.zeros((2, 4, 1), np.int32),
        np.zeros((4, 2), np.int32).T,
        np.zeros((2, 8), np.int32)[:, ::2],
        np.zeros((2, 4), ">i4"),
        [[0] * 4] * 2,
    ],
)
def test_a_buffer_that_does_not_fit_is_refused(undisturbed, out):
    with open_reader(undisturbed) as reader, pytest.raises(ValueError, match="out: found"):
        reader.read("crop/box", [0, 1], [0, 1], out=out)


def test_a_read_only_buffer_is_refused(undisturbed):
    out = np.zeros((1, 4), np.int32)
    out.setflags(write=False)
    with open_reader(undisturbed) as reader, pytest.raises(ValueError, match="expected a writable"):
        reader.read("crop/box", [0], [0], out=out)


@pytest.mark.parametrize(
    ("images", "seeds", "error", "message"),
    [
        ([0, 10], [0, 0], ViewOutOfRange, "image 10 at position 1: .* has 0 to 9"),
        ([-1], [0], ViewOutOfRange, "image -1 at position 0"),
        ([0], [5], ViewOutOfRange, "seed 5 at position 0: .* has 0 to 4"),
        ([0], [-1], ViewOutOfRange, "seed -1"),
        ([0], [-6], ViewOutOfRange, "seed -6"),
        ([-15], [0], ViewOutOfRange, "image -15"),
        ([2**63 - 1], [0], ViewOutOfRange, "image 9223372036854775807"),
        ([0, 1], [0], ValueError, "found 2 images and 1 seeds"),
        ([[0]], [0], ValueError, "images_B: found int64"),
        ([0.0], [0], ValueError, "images_B: found float64"),
        ([0], 0, ValueError, "seeds_B: found int64"),
        ([True], [0], ValueError, "images_B: found bool"),
    ],
)
def test_bounds(undisturbed, images, seeds, error, message):
    with open_reader(undisturbed) as reader:
        for _ in range(2):
            with pytest.raises(error, match=message):
                reader.read("crop/box", images, seeds)
            read_everything(reader)  # now by the short way


def test_unknown_array(undisturbed):
    with open_reader(undisturbed) as reader:
        for ask in (reader.shape, reader.dtype, lambda name: reader.read(name, [0], [0])):
            with pytest.raises(UnknownArray, match=r"no array 'teacher/topk' .* it has: crop/box, crop/flip"):
                ask("teacher/topk")


def test_expectations(undisturbed):
    open_reader(undisturbed, expect={"teacher": {"model": "ViT-H-14"}}).close()
    open_reader(undisturbed, expect=Manifest(FIELDS)).close()
    expect = {"teacher": {"model": "ViT-B-32", "depth": 3}, "crops": {"size": 224, "scale": [0.1, 1]}}
    with pytest.raises(ManifestMismatch) as caught:
        open_reader(undisturbed, expect=expect)
    assert [gap.field for gap in caught.value.differences] == ["teacher.model", "teacher.depth", "crops.scale"]
    assert f"the store at {undisturbed} does not fit: 3 fields differ" in str(caught.value)


def test_closing(undisturbed):
    reader = open_reader(undisturbed)
    reader.read("crop/box", [0], [0])
    reader.close()
    reader.close()
    for use in (lambda: reader.read("crop/box", [0], [0]), lambda: reader.prefetch("crop/box", 0)):
        with pytest.raises(ValueError, match=r"the reader of .* is closed"):
            use()


def mapped_files(store: Path) -> int:
    return Path("/proc/self/maps").read_text().count(f"{store}/")


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_maps_are_lazy_hold_no_descriptor_and_go_on_closing(undisturbed):
    descriptors = open_descriptors()
    reader = open_reader(undisturbed)
    assert mapped_files(undisturbed) == 0
    reader.read("crop/box", [0], [0])
    assert mapped_files(undisturbed) == 1
    reader.read_plane("crop/box", 4)
    assert mapped_files(undisturbed) == 4
    read_everything(reader)
    assert mapped_files(undisturbed) == 9 * len(SPECS)
    assert open_descriptors() == descriptors
    reader.close()
    gc.collect()
    assert mapped_files(undisturbed) == 0


def test_prefetch(undisturbed):
    with open_reader(undisturbed) as reader:
        for seed in range(NUM_SEEDS):
            reader.prefetch("teacher/logits", seed)
            reader.prefetch_rows("crop/flip", [0, 9, 5], [seed] * 3)
        with pytest.raises(ViewOutOfRange, match="seed 5"):
            reader.prefetch("teacher/logits", 5)
        with pytest.raises(ViewOutOfRange, match="image 10 at position 1"):
            reader.prefetch_rows("teacher/logits", [0, 10], [0, 0])


@pytest.mark.parametrize("name", NAMES)
def test_a_plane_is_all_images_of_one_seed(undisturbed, name):
    store = open_store(undisturbed)
    expected = rows_of(store.arrays[name], store)
    with open_reader(undisturbed) as reader:
        for seed in (3, 0, 4):
            plane = reader.read_plane(name, seed)
            assert plane.dtype == expected.dtype and np.array_equal(plane, expected[:, seed])
            out = np.zeros_like(plane)
            assert reader.read_plane(name, seed, out=out) is out
            assert np.array_equal(out, plane)
        for bad, error in ((5, ViewOutOfRange), (-1, ViewOutOfRange), (0.5, ValueError)):
            with pytest.raises(error):
                reader.read_plane(name, bad)
        with pytest.raises(ValueError, match="out: found"):
            reader.read_plane(name, 0, out=out[:-1])


def test_rows_go_into_a_tensors_memory(undisturbed):
    import torch

    with open_reader(undisturbed) as reader:
        tensor = torch.zeros(2, 8, dtype=torch.float16)
        reader.read("teacher/embedding", [9, 1], [4, 0], out=tensor.numpy())
        assert np.array_equal(tensor.numpy(), reader.read("teacher/embedding", [9, 1], [4, 0]))


def test_pickling_drops_the_maps(undisturbed):
    reader = open_reader(undisturbed)
    everything = read_everything(reader)
    pickled = pickle.dumps(reader)
    assert len(pickled) < 1000
    reader.close()
    assert same(read_everything(pickle.loads(pickled)), everything)


def test_unpickling_refuses_another_store(tmp_path):
    create_store(tmp_path / "store", **arguments())
    pickled = pickle.dumps(open_reader(tmp_path / "store", allow_unsealed=True))
    (tmp_path / "store").rename(tmp_path / "old")
    create_store(tmp_path / "store", **arguments(manifest=Manifest({"teacher": "another"})))
    with pytest.raises(ManifestMismatch, match="fingerprint: found"):
        pickle.loads(pickled)


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_reading_in_other_processes(undisturbed, start_method):
    reader = open_reader(undisturbed)
    everything = read_everything(reader)
    with ProcessPoolExecutor(2, multiprocessing.get_context(start_method)) as pool:
        for got in pool.map(read_everything, [reader] * 3):
            assert same(got, everything)
    assert same(read_everything(reader), everything)


def test_a_forked_child_reads_through_the_maps_it_inherits(undisturbed):
    reader = open_reader(undisturbed)
    everything = read_everything(reader)
    child = os.fork()
    if child == 0:
        fine = same(read_everything(reader), everything)
        reader.close()
        os._exit(0 if fine else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert same(read_everything(reader), everything)
