"""Decoders share their work among torch's threads, and give the same crops however many there are."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from fdbpl.pipeline.bench.decode import make_images
from fdbpl.pipeline.loading import cut_decoder
from fdbpl.pipeline.loading.decoder import UnreadableImages, kept_decoder, make_decoder
from fdbpl.pipeline.loading.image_file import ImageFile
from fdbpl.pipeline.loading.threads import in_threads


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", ["torchvision", "pillow"])
def test_any_number_of_threads_gives_the_same_crops(name: str, tmp_path: Path, threads: None) -> None:
    paths = make_images(tmp_path, (90, 70), 9)
    image_B = np.array([0, 8, 3, 3, 5, 1, 0])
    boxes_B4 = np.tile((4, 5, 40, 50), (7, 1))
    flips_B = np.arange(7) % 2 == 0
    found = []
    for count in (1, 2, 5):
        torch.set_num_threads(count)
        found.append(make_decoder(name).windows(paths, image_B, boxes_B4, flips_B, 32))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_every_bad_file_is_named_in_order(tmp_path: Path, threads: None) -> None:
    torch.set_num_threads(3)
    paths = make_images(tmp_path, (90, 70), 8)
    for number in (2, 6):
        paths[number].write_bytes(paths[number].read_bytes()[:400])
    with pytest.raises(UnreadableImages) as caught:
        make_decoder("torchvision").center(paths, 32)
    assert [bad.index for bad in caught.value.images] == [2, 6]


def test_as_many_threads_work_as_torch_has(threads: None) -> None:
    torch.set_num_threads(3)
    together = threading.Barrier(3, timeout=20)

    def work(number: int) -> int:
        together.wait()
        return number * number

    assert in_threads(work, range(6)) == [0, 1, 4, 9, 16, 25]
    torch.set_num_threads(1)
    assert in_threads(lambda number: threading.current_thread().name, range(2)) == ["MainThread"] * 2


@pytest.mark.parametrize(("slow_from", "by_main"), [(20, 20), (4, 5)])
def test_files_that_come_at_once_are_read_by_one_thread_and_slow_ones_by_several(
    slow_from: int, by_main: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: None
) -> None:
    torch.set_num_threads(3)
    readers: list[str] = []
    now = [0.0]

    def read(path: Path, index: int) -> ImageFile:
        readers.append(threading.current_thread().name)
        if index >= slow_from:
            now[0] += 1.0
        return ImageFile(index=index, path=path, data=b"", height=1, width=1, kind="JPEG", is_native=True)

    monkeypatch.setattr(cut_decoder, "read_image_file", read)
    monkeypatch.setattr(cut_decoder.time, "perf_counter", lambda: now[0])
    found = cut_decoder._read_all(lambda index: cut_decoder.read_image_file(tmp_path, index), 20)
    assert [file.index for file in found] == list(range(20))
    assert readers.count(threading.main_thread().name) == by_main
    assert all(name.startswith("fdbpl-decode") for name in readers[by_main:])


def test_a_kept_decoder_is_made_once() -> None:
    assert kept_decoder("torchvision", "cpu") is kept_decoder("torchvision", "cpu")
    assert kept_decoder("torchvision", "cpu") is not kept_decoder("pillow", "cpu")
