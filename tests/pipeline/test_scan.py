"""One read gives size and digest; every bad file is listed at once."""

import hashlib
import io
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fdbpl.pipeline.datasets.scan import scan_images
from fdbpl.pipeline.loading.decoder import UnreadableImages


def write_images(folder: Path, count: int) -> list[str]:
    paths = [f"class {number % 3}/ä {number}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        (folder / path).parent.mkdir(exist_ok=True)
        Image.new("RGB", (10 + number, 20), (number % 256, 0, 0)).save(folder / path)
    return paths


def test_sizes_digests_and_labels(tmp_path: Path) -> None:
    paths = write_images(tmp_path, 12)
    index = scan_images(tmp_path, paths, list(range(12)), num_threads=4)
    assert index.paths == tuple(paths)
    assert index.sizes_N2.tolist() == [[20, 10 + number] for number in range(12)]
    assert index.labels_N.tolist() == list(range(12))
    assert (index.sizes_N2.dtype, index.digests_N32.dtype, index.labels_N.dtype) == (np.int32, np.uint8, np.int32)
    for path, digest_32 in zip(paths, index.digests_N32, strict=True):
        assert bytes(digest_32) == hashlib.sha256((tmp_path / path).read_bytes()).digest()


def test_the_size_is_that_of_the_stored_pixels(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (30, 20)).save(tmp_path / "turned.jpg", exif=exif)
    Image.new("RGB", (7, 9)).save(tmp_path / "other.gif")
    assert scan_images(tmp_path, ["turned.jpg", "other.gif"], [0, 0]).sizes_N2.tolist() == [[20, 30], [9, 7]]


def test_every_bad_file_is_listed(tmp_path: Path) -> None:
    paths = write_images(tmp_path, 6)
    (tmp_path / paths[1]).write_bytes(b"")
    (tmp_path / paths[3]).write_bytes(b"<html>not found</html>")
    (tmp_path / "folder.jpg").mkdir()
    with pytest.raises(UnreadableImages) as caught:
        scan_images(tmp_path, [*paths, "missing.jpg", "folder.jpg"], [0] * 8)
    assert [(bad.index, bad.path, bad.reason) for bad in caught.value.images] == [
        (1, tmp_path / paths[1], "the file is empty"),
        (3, tmp_path / paths[3], "not an image of a known kind"),
        (6, tmp_path / "missing.jpg", "No such file or directory"),
        (7, tmp_path / "folder.jpg", "Is a directory"),
    ]
    assert str(caught.value).startswith("4 of 8 images cannot be read; mend or remove them:\n  image 1 (")
    assert f"image 6 ({tmp_path / 'missing.jpg'}) cannot be read: No such file or directory" in str(caught.value)


def test_a_long_list_of_bad_files_is_cut_in_the_message_only(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImages, match=r"(?s)60 of 60 .*\.\.\. and 10 more$") as caught:
        scan_images(tmp_path, [f"{number}.jpg" for number in range(60)], [0] * 60)
    assert [bad.index for bad in caught.value.images] == list(range(60))


def test_progress_is_told_up_to_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fdbpl.pipeline.datasets.scan._CHUNK", 5)
    seen: list[tuple[int, int]] = []
    scan_images(tmp_path, write_images(tmp_path, 12), [0] * 12, on_progress=lambda *done: seen.append(done))
    assert seen == [(5, 12), (10, 12), (12, 12)]


def test_what_the_caller_got_wrong(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="found 2 paths and 1 labels"):
        scan_images(tmp_path, ["a.jpg", "b.jpg"], [0])
    with pytest.raises(ValueError, match=r"there is no folder .*/nowhere"):
        scan_images(tmp_path / "nowhere", ["a.jpg"], [0])


def test_digests_are_skipped_on_request(tmp_path: Path) -> None:
    paths = write_images(tmp_path, 3)
    with_digests, without = (scan_images(tmp_path, paths, [0, 1, 2], digests=wanted) for wanted in (True, False))
    assert with_digests.digests_N32.any(axis=1).all() and not without.digests_N32.any()
    assert with_digests.sizes_N2.tolist() == without.sizes_N2.tolist()


def test_memory_is_that_of_the_result(tmp_path: Path) -> None:
    """Twice the files may cost what twice the result, the entries of the log, and the list of paths cost."""
    content = io.BytesIO()
    Image.new("RGB", (8, 8)).save(content, "JPEG")
    paths = [f"{number}.jpg" for number in range(4096)]
    for path in paths:
        (tmp_path / path).write_bytes(content.getvalue())
    peaks = []
    for count in (1024, 4096):
        tracemalloc.start()
        scan_images(tmp_path, paths[:count], [0] * count, num_threads=2)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert (peaks[1] - peaks[0]) / (4096 - 1024) < 300
