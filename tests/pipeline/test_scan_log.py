"""A scan that was cut off goes on, and what has not changed is not read twice."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bad_files import CONTENTS, encoded, pixels

from fdbpl.pipeline.datasets import scan
from fdbpl.pipeline.datasets.scan import scan_images
from fdbpl.pipeline.datasets.scan_log import ENTRY, ScanLog
from fdbpl.pipeline.loading.decoder import UnreadableImages

LONG_AGO = 1_000_000_000


def write(path: Path, content: bytes, when: float = LONG_AGO) -> None:
    path.write_bytes(content)
    os.utime(path, (when, when))


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Forty images, of which one is a GIF, that have not changed for long."""
    (tmp_path / "images").mkdir()
    names = [f"ä {number}.jpg" for number in range(40)]
    for number, name in enumerate(names):
        write(tmp_path / "images" / name, encoded("GIF" if number == 7 else "JPEG", pixels(number)))
    return names


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that scans read."""
    seen: list[str] = []
    real = scan.read_image_file

    def noting(path: Path, index: int) -> Any:
        seen.append(path.name)
        return real(path, index)

    monkeypatch.setattr(scan, "read_image_file", noting)
    return seen


@pytest.fixture
def scan_them(tmp_path: Path, files: list[str]) -> Callable[..., Any]:
    """Scans the files with the log in the test's folder, opened anew."""

    def run(names: list[str] = files, **options: Any) -> Any:
        return scan_images(
            tmp_path / "images", names, [0] * len(names), log=ScanLog(tmp_path / "log"), num_threads=3, **options
        )

    return run


def test_a_second_scan_reads_nothing_and_finds_the_same(
    tmp_path: Path, files: list[str], scan_them: Callable[..., Any], read: list[str]
) -> None:
    first = scan_them()
    assert sorted(read) == sorted(files)
    read.clear()
    lines: list[str] = []
    again = scan_them(say=lines.append)
    assert read == []
    assert again.digest == first.digest == scan_images(tmp_path / "images", files, [0] * 40).digest
    assert lines == [
        "40 of 40 images were looked at before, and have not changed",
        "1 of 40 images is of a kind that Pillow decodes in every backend: 1 GIF",
    ]


def test_only_what_is_new_or_changed_is_read(
    tmp_path: Path, files: list[str], scan_them: Callable[..., Any], read: list[str]
) -> None:
    scan_them(files[:30])
    read.clear()
    other = encoded("JPEG", pixels(99))
    content = (tmp_path / "images" / files[3]).read_bytes()
    write(tmp_path / "images" / files[1], other)  # another size
    write(tmp_path / "images" / files[3], content[:-2] + content[-2:], LONG_AGO + 1)  # another time
    found = scan_them()
    assert sorted(read) == sorted([files[1], files[3], *files[30:]])
    assert found.digest == scan_images(tmp_path / "images", files, [0] * 40).digest


def test_bad_files_are_looked_at_each_time(
    tmp_path: Path, files: list[str], scan_them: Callable[..., Any], read: list[str]
) -> None:
    write(tmp_path / "images" / files[5], CONTENTS["cut at half of the scan.jpg"][0])
    (tmp_path / "images" / files[6]).unlink()
    for _ in range(2):
        read.clear()
        with pytest.raises(UnreadableImages) as caught:
            scan_them()
        assert [bad.index for bad in caught.value.images] == [5, 6]
    assert sorted(read) == sorted([files[5], files[6]]), "the good ones are known since the first"


def test_a_file_that_has_just_changed_is_not_trusted(
    tmp_path: Path, files: list[str], scan_them: Callable[..., Any], read: list[str]
) -> None:
    """It may change once more within one tick of the file system's clock, without another size or time."""
    write(tmp_path / "images" / files[2], encoded("JPEG", pixels(50)), time.time())
    scan_them()
    read.clear()
    scan_them()
    assert read == [files[2]]


def test_digests_that_were_skipped_are_made_when_they_are_asked_for(
    files: list[str], scan_them: Callable[..., Any], read: list[str]
) -> None:
    assert not scan_them(digests=False).digests_N32.any()
    read.clear()
    assert not scan_them(digests=False).digests_N32.any() and read == []
    assert scan_them().digests_N32.any(axis=1).all() and len(read) == 40
    read.clear()
    assert scan_them().digests_N32.any(axis=1).all() and not scan_them(digests=False).digests_N32.any()
    assert read == []


def test_a_damaged_file_of_the_log_is_not_used(
    tmp_path: Path, files: list[str], scan_them: Callable[..., Any], read: list[str]
) -> None:
    expected = scan_them().digest
    (file,) = (tmp_path / "log").iterdir()
    whole = file.read_bytes()
    for content in (b"", whole[:-1], whole[:500] + b"x" + whole[501:], whole.replace(b'"pillow": "', b'"pillow": "1')):
        file.write_bytes(content)
        assert len(ScanLog(tmp_path / "log")) == 0
    read.clear()
    assert scan_them().digest == expected and len(read) == 40


def test_a_killed_scan_goes_on_where_it_was(
    tmp_path: Path, files: list[str], scan_them: Callable[..., Any], read: list[str]
) -> None:
    """SIGKILL after each of several chunks: what is read twice is at most what had not been written yet."""
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from fdbpl.pipeline.datasets import scan, scan_log\n"
        "scan._CHUNK, scan_log._ENTRIES_A_FILE = 5, 10\n"
        "folder, stop, names = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]\n"
        "def told(done, total):\n"
        "    if done == stop:\n"
        f"        os.kill(os.getpid(), {int(signal.SIGKILL)})\n"
        "log = scan_log.ScanLog(folder / 'log')\n"
        "scan.scan_images(folder / 'images', names, [0] * len(names), log=log, on_progress=told)\n"
    )
    kept = []
    for stop in (5, 15, 30):
        ended = subprocess.run([sys.executable, "-c", code, str(tmp_path), str(stop), *files], check=False)
        assert ended.returncode == -signal.SIGKILL
        kept.append(len(ScanLog(tmp_path / "log")))
    assert kept == [0, 10, 30]
    found = scan_them()
    assert sorted(read) == sorted(files[30:])
    assert found.digest == scan_images(tmp_path / "images", files, [0] * 40).digest


def test_two_scans_at_once_share_a_folder(tmp_path: Path, files: list[str], scan_them: Callable[..., Any]) -> None:
    early = ScanLog(tmp_path / "log")
    scan_them(files[:25])
    scan_images(tmp_path / "images", files[15:], [0] * 25, log=early)
    assert len(ScanLog(tmp_path / "log")) == 40


def test_an_entry_is_small() -> None:
    assert ENTRY.itemsize == 72


def test_keys_that_are_lacking_are_never_found(tmp_path: Path) -> None:
    log = ScanLog(tmp_path)
    log.add(np.zeros(3, ENTRY))
    log.flush()
    assert list(tmp_path.iterdir()) == []
    _, is_there = log.find([b"", bytes(16)], with_digest=False)
    assert is_there.tolist() == [False, False]
