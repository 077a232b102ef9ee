import hashlib
import os
from pathlib import Path

import pytest

from fdbpl.pipeline import kept_digests
from fdbpl.pipeline.kept_digests import kept_digest


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "weights"
    path.write_bytes(b"one")
    return path


@pytest.fixture
def reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were read, of any size and age."""
    found: list[Path] = []
    digest = kept_digests._digest

    def read(path: Path) -> str:
        found.append(path)
        return digest(path)

    monkeypatch.setattr(kept_digests, "_digest", read)
    monkeypatch.setattr(kept_digests, "SMALLEST_BYTES", 0)
    monkeypatch.setattr(kept_digests, "_SETTLED_SECONDS", -60.0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return found


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_file_is_read_once(weights: Path, reads: list[Path]) -> None:
    assert [kept_digest(weights) for _ in range(3)] == [sha256(b"one")] * 3
    assert reads == [weights]


def test_another_content_of_the_same_size_and_time_is_seen(weights: Path, reads: list[Path]) -> None:
    kept_digest(weights)
    before = weights.stat()
    weights.write_bytes(b"two")
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert weights.stat().st_mtime_ns == before.st_mtime_ns
    assert kept_digest(weights) == sha256(b"two")


def test_another_file_in_its_place_is_seen(weights: Path, reads: list[Path]) -> None:
    kept_digest(weights)
    other = weights.with_name("other")
    other.write_bytes(b"two")
    other.replace(weights)
    assert kept_digest(weights) == sha256(b"two")
    assert kept_digest(weights) == sha256(b"two") and reads == [weights] * 2


def test_a_file_that_may_still_change_is_not_kept(
    weights: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_digests, "_SETTLED_SECONDS", 60.0)
    assert kept_digest(weights) == kept_digest(weights) == sha256(b"one")
    assert reads == [weights] * 2


def test_a_file_that_changes_while_it_is_read_is_not_kept(
    weights: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = kept_digests._digest

    def read(path: Path) -> str:
        found = digest(path)
        path.write_bytes(b"longer")
        return found

    with monkeypatch.context() as patch:
        patch.setattr(kept_digests, "_digest", read)
        kept_digest(weights)
    assert kept_digest(weights) == sha256(b"longer")


@pytest.mark.parametrize("content", ["", "[]", '{"facts": {}}'])
def test_what_is_kept_may_be_damaged(content: str, weights: Path, reads: list[Path], tmp_path: Path) -> None:
    kept_digest(weights)
    (kept,) = (tmp_path / "cache").rglob("*.json")
    kept.write_text(content)
    assert kept_digest(weights) == sha256(b"one") and reads == [weights] * 2
    assert kept_digest(weights) == sha256(b"one") and len(reads) == 2


@pytest.mark.parametrize("place", ["file", "none"])
def test_nothing_is_kept_where_nothing_can_be(
    place: str, weights: Path, reads: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    (tmp_path / "home").write_text("")  # no folder
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    if place == "none":
        monkeypatch.delenv("HOME")
    assert kept_digest(weights) == kept_digest(weights) == sha256(b"one")
    assert reads == [weights] * 2


def test_small_files_are_read_each_time(weights: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_digests, "SMALLEST_BYTES", 4)
    kept_digest(weights)
    kept_digest(weights)
    assert reads == [weights] * 2
