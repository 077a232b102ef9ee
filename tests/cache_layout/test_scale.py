"""Large stores on sparse files: a billion rows, files over 2^32 bytes, a hundred thousand shards."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from store_example import make_classes, make_images

from fdbpl.cache_layout.array_spec import ArraySpec
from fdbpl.cache_layout.campaigns import save_campaign
from fdbpl.cache_layout.create import create_store
from fdbpl.cache_layout.manifest import Manifest
from fdbpl.cache_layout.mapping import most_files
from fdbpl.cache_layout.reader import open_reader
from fdbpl.cache_layout.records import RecordTable
from fdbpl.cache_layout.seal import _closed
from fdbpl.cache_layout.shard import CRC_BYTES, crc32c, index_bytes, plane_stride
from fdbpl.cache_layout.store import Store


def sparse_store(path: Path, *, num_images: int, num_seeds: int, images_per_block: int, seeds_per_block: int,
                 spec: ArraySpec) -> Store:  # fmt: skip
    """A sealed store whose shard files hold their index alone: all rows read as zeros until `put` writes some."""
    store = create_store(
        path,
        manifest=Manifest({"scale": True}),
        images=make_images(num_images),
        class_lists=[make_classes()],
        num_seeds=num_seeds,
        images_per_block=images_per_block,
        seeds_per_block=seeds_per_block,
        campaigns={"big": [spec]},
    )
    records = RecordTable.empty(store.grid, [spec.name])
    plane_bytes = images_per_block * spec.row_bytes
    stride = plane_stride(plane_bytes, spec.row_bytes)
    for seed_block in range(store.grid.num_seed_blocks):
        seeds = len(store.grid.block(0, seed_block).seeds)
        index = np.full((seeds_per_block, 2), 2**64 - 1, "<u8")
        index[:seeds, 0] = np.arange(seeds) * stride
        index[:seeds, 1] = plane_bytes + CRC_BYTES
        tail = index.tobytes() + crc32c(index.tobytes())
        size = seeds * stride + index_bytes(store.grid)
        records.size_GJA[:, seed_block] = size
        for image_block in range(store.grid.num_image_blocks):
            with (path / spec.file_name(store.grid.block(image_block, seed_block))).open("wb") as file:
                file.truncate(size)
                file.seek(size - len(tail))
                file.write(tail)
    save_campaign(store.path, _closed(store, store.campaign("big"), records))
    return store


def put(store: Store, spec: ArraySpec, image: int, seed: int, row: np.ndarray) -> None:
    """Write one row where the format says that it lies."""
    grid = store.grid
    block = grid.block(image // grid.images_per_block, seed // grid.seeds_per_block)
    stride = plane_stride(grid.images_per_block * spec.row_bytes, spec.row_bytes)
    with (store.path / spec.file_name(block)).open("r+b") as file:
        file.seek((seed - block.seeds.start) * stride + (image - block.images.start) * spec.row_bytes)
        file.write(row.astype(spec.numpy_dtype).tobytes())


def check_rows(store: Store, spec: ArraySpec, views: list[tuple[int, int]]) -> None:
    """Rows written at some views are read there, by every way of reading; all around are zeros."""
    random = np.random.default_rng(0)
    rows = random.integers(1, 100, (len(views), *spec.row_shape)).astype(spec.dtype)
    for (image, seed), row in zip(views, rows, strict=True):
        put(store, spec, image, seed, row)
    images, seeds = (np.array(axis) for axis in zip(*views, strict=True))
    with open_reader(store.path) as reader:
        for _ in range(2):
            assert np.array_equal(reader.read(spec.name, images, seeds), rows)
            others = reader.read(spec.name, (images + 1) % store.grid.num_images, seeds)
            assert not others.any()
            plane = reader.read_plane(spec.name, int(seeds[0]))
            assert np.array_equal(plane[images[0]], rows[0])


def test_a_billion_rows(tmp_path):
    spec = ArraySpec(name="big/label", row_shape=(), dtype="uint8")
    store = sparse_store(
        tmp_path / "store", num_images=1_000_000, num_seeds=1000, images_per_block=65536, seeds_per_block=100, spec=spec
    )
    assert store.grid.num_images * store.grid.num_seeds == 10**9
    check_rows(store, spec, [(0, 0), (999_999, 999), (65_536, 100), (65_535, 99), (500_000, 500), (777_777, 3)])


def test_files_over_four_gigabytes(tmp_path):
    spec = ArraySpec(name="big/logits", row_shape=(1000,), dtype="float16")
    store = sparse_store(
        tmp_path / "store", num_images=9000, num_seeds=600, images_per_block=8192, seeds_per_block=300, spec=spec
    )
    largest = max(file.stat().st_size for file in (store.path / spec.name).glob("c.*"))
    assert largest > 2**32
    check_rows(store, spec, [(8191, 299), (0, 0), (8191, 270), (8192, 599), (3, 262), (8999, 300)])


@pytest.fixture
def opened_files() -> Iterator[list[str]]:
    """The paths that this process opens, as a list that grows."""
    opened: list[str] = []
    state = {"on": True}

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if state["on"] and event == "open":
            opened.append(str(arguments[0]))

    sys.addaudithook(hook)
    yield opened
    state["on"] = False


@pytest.mark.slow
def test_a_hundred_thousand_files(tmp_path, opened_files):
    spec = ArraySpec(name="big/label", row_shape=(2,), dtype="float16")
    store = sparse_store(
        tmp_path / "store", num_images=1000, num_seeds=1000, images_per_block=10, seeds_per_block=1, spec=spec
    )
    assert store.grid.num_blocks == 100_000
    opened_files.clear()
    with open_reader(store.path) as reader:
        assert not [name for name in opened_files if "/c." in name], "opening a store looks at no shard file"
        assert len(opened_files) < 20
        reader.read(spec.name, [5], [5])
        assert len([name for name in opened_files if f"{spec.name}/c." in name]) == 1, "only what is touched is opened"
        views = [(image, seed) for image in range(0, 1000, 10) for seed in range(1000)]
        images, seeds = (np.array(axis) for axis in zip(*views, strict=True))
        assert not reader.read(spec.name, images, seeds).any(), "every file, though they cannot all be mapped"
        maps = Path("/proc/self/maps").read_text().count(str(store.path))
        assert maps <= most_files() < 100_000
        descriptors = len(list(Path("/proc/self/fd").iterdir()))
        assert descriptors < resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2
