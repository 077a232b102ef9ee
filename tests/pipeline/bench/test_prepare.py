"""Test data on the disk: written once, refused without room, and checked against every reader."""

import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from fdbpl.pipeline.bench.data import Data, Numbers, Rows
from fdbpl.pipeline.bench.peers.fdbpl_peer import FdbplPeer
from fdbpl.pipeline.bench.peers.numpy_peer import IMAGE_MAJOR, SEED_MAJOR, NumpyPeer
from fdbpl.pipeline.bench.prepare import WrongRows, build, check, space


class WrongSeed(NumpyPeer):
    """Takes the neighbour's row for one image."""

    def read_rows(self, images: Numbers, seeds: Numbers, out: Rows) -> None:
        super().read_rows(images, (seeds + (images == 5)) % self.data.num_seeds, out)


class WrongBit(NumpyPeer):
    """Changes one bit of the last plane."""

    def read_plane(self, seed: int, out: Rows) -> None:
        super().read_plane(seed, out)
        if seed == 3:
            out.view("<u2")[69, 7] ^= 1


def nothing(done: int, total: int) -> None:
    pass


def test_right_readers_pass_and_wrong_ones_are_named(folder: Path, data: Data) -> None:
    right = [FdbplPeer(folder, data), NumpyPeer(folder, data)]
    build(right, folder, nothing)
    check(right, data)
    with pytest.raises(WrongRows, match=r"numpy gives other rows .* first for image 5, seed [0-3]: nothing"):
        check([right[0], WrongSeed(folder, data)], data)
    with pytest.raises(WrongRows, match=r"numpy .*, 1 of 70, first for image 69 of the plane of seed 3"):
        check([WrongBit(folder, data)], data)


def test_what_is_whole_is_used_again_and_a_part_is_written_anew(folder: Path, data: Data) -> None:
    peers = [NumpyPeer(folder, data)]
    assert space(peers, folder)["bytes_to_write"] == 2 * 70 * 4 * 8 * 2
    build(peers, folder, nothing)
    written = (folder / SEED_MAJOR).stat().st_mtime_ns
    assert space(peers, folder)["bytes_to_write"] == 0
    build(peers, folder, nothing)
    assert (folder / SEED_MAJOR).stat().st_mtime_ns == written
    (folder / f"{IMAGE_MAJOR}.json").unlink()  # as after a kill: the file is there, its mark is not
    (folder / IMAGE_MAJOR).write_bytes(b"part")
    build(peers, folder, nothing)
    check(peers, data)


def test_other_rows_in_the_folder_are_refused(folder: Path, data: Data) -> None:
    build([NumpyPeer(folder, data)], folder, nothing)
    other = Data(num_images=70, num_seeds=4, num_classes=9)
    with pytest.raises(ValueError, match=r"choose another --folder, or remove"):
        build([NumpyPeer(folder, other)], folder, nothing)


def test_without_room_nothing_is_written(monkeypatch: pytest.MonkeyPatch, folder: Path, data: Data) -> None:
    usage = namedtuple("usage", "total used free")(10**6, 10**6 - 8000, 8000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    peers = [NumpyPeer(folder / "new", data)]
    assert space(peers, folder / "new")["fits"] is False
    with pytest.raises(ValueError, match=r"found 0\.00 GB free at .*choose another --folder, or fewer --images"):
        build(peers, folder / "new", nothing)
    assert not (folder / "new").exists()
