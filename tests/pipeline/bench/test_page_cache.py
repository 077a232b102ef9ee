"""Warm and cold files."""

from pathlib import Path

import pytest

from fdbpl.pipeline.bench.machine import file_system
from fdbpl.pipeline.bench.page_cache import files_below, flush, make_cold, resident_share, warm


def test_files_can_be_made_warm_and_cold(tmp_path: Path) -> None:
    if file_system(tmp_path) in ("tmpfs", "ramfs", "overlay", "unknown"):
        pytest.skip("this file system keeps its pages")
    files = [tmp_path / "a", tmp_path / "b"]
    for file in files:
        file.write_bytes(bytes(100_000))
    flush(files)
    warm(files)
    assert resident_share(files) == 1.0
    assert make_cold(files[:1]) == 0.0
    assert resident_share(files[:1]) == 0.0
    assert resident_share(files) == 0.5
    warm(files)
    assert resident_share(files) == 1.0


def test_empty_files_have_no_pages(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert resident_share([tmp_path / "empty"]) == 0.0
    assert resident_share([]) == 0.0


def test_files_below_folders_are_found_once(tmp_path: Path) -> None:
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    names = ["folder/b", "folder/deep/a", "c"]
    for name in names:
        (tmp_path / name).touch()
    assert list(files_below([tmp_path / "folder", tmp_path / "c"])) == [tmp_path / name for name in names]
