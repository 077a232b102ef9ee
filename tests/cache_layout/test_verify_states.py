"""Checking stores in every state: not sealed, growing, old, interrupted, in threads, or no store at all."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import small_store
from small_store import build
from store_example import arguments, overwrite, rows_of_block
from verify_example import found, one, swap

from fdbpl.cache_layout.create import create_store
from fdbpl.cache_layout.errors import CacheError, UnknownArray
from fdbpl.cache_layout.grow import add_images
from fdbpl.cache_layout.reader import open_reader
from fdbpl.cache_layout.store import open_store
from fdbpl.cache_layout.tables import put_images
from fdbpl.cache_layout.verify import verify
from fdbpl.cache_layout.writer import write_block

FIXTURE = Path(__file__).parent / "formats/1/store.zarr"


def test_images_that_the_seal_does_not_name(sealed):
    """An index that is whole in itself, with the same number of images."""
    images = open_store(sealed).images
    shutil.rmtree(sealed / "images/0")
    put_images(sealed / "images/0", replace(images, labels_N=np.zeros(10, int)))
    finding = one(sealed)
    assert (finding.kind, finding.file) == ("metadata", "images/0")
    assert "which seal 0 of campaign teacher names" in finding.what


def test_no_store_at_all(tmp_path):
    with pytest.raises(CacheError, match="no store at"):
        verify(tmp_path / "none")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CacheError, match="no store at"):
        verify(tmp_path / "file")
    with pytest.raises(CacheError, match="no store at"):
        verify(tmp_path)


def half_written(path):
    store = create_store(path, **arguments())
    for block in store.blocks("teacher"):
        if block.id not in ("0.1", "1.1", "2.2"):
            write_block(store, "teacher", block, rows_of_block(store, block))
    return store


def test_a_campaign_that_is_not_sealed(tmp_path):
    store = half_written(tmp_path / "store")
    verification = verify(store.path, unit_norm=False)
    assert [(each.kind, each.what) for each in verification.findings] == [
        ("incomplete", "not sealed: 3 of 9 blocks missing")
    ]
    assert verification.is_sound and verification.files == 24
    path = store.path / "crop/box/c.0.0.0"
    overwrite(path, path.read_bytes()[::-1])
    assert found(store.path) == [("incomplete", "records/teacher"), ("damaged", "crop/box/c.0.0.0")]


def test_only_the_campaigns_asked_for_are_read(tmp_path):
    path = build(tmp_path / "store")
    (path / "s/embedding/c.0.0.0").unlink()
    assert verify(path, campaigns=["t"]).is_sound
    assert verify(path, campaigns=["t"]).files == 6
    assert found(path, campaigns=["s"]) == [("missing", "s/embedding/c.0.0.0")]
    with pytest.raises(UnknownArray, match="no campaign 'x'"):
        verify(path, campaigns=["x"])


def test_a_store_that_grows_is_sound_all_along(tmp_path):
    path = build(tmp_path / "store", grown=False)
    add_images(open_store(path), small_store.images_of(3, 1))
    assert verify(path).findings == ()
    shutil.rmtree(path)
    assert verify(build(path)).findings == ()
    with open_reader(path, campaigns=["t"]) as reader:
        assert small_store.is_right(reader, {"t/flip": small_store.wanted(path)["t/flip"]})


def test_a_store_of_format_1(tmp_path):
    path = tmp_path / "store.zarr"
    shutil.copytree(FIXTURE, path)
    verification = verify(path, unit_norm=False)
    assert (verification.findings, verification.notes, verification.files) == ((), (), 45)
    for name in ("crop/box/c.0.1.0", "teacher/embedding/c.1.2.0"):
        data = bytearray((path / name).read_bytes())
        data[1] ^= 4
        overwrite(path / name, data)
    findings = verify(path, unit_norm=False).findings
    assert [(each.file, each.seeds) for each in findings] == [
        ("crop/box/c.0.1.0", (2,)),
        ("teacher/embedding/c.1.2.0", (4,)),
    ]


def test_an_interrupted_check_goes_on(sealed):
    calls = []

    def interrupt(done, total):
        calls.append(done)
        if len(calls) == 20:
            raise KeyboardInterrupt

    state = sealed.parent / "store.verify.jsonl"
    with pytest.raises(KeyboardInterrupt):
        verify(sealed, unit_norm=False, on_progress=interrupt)
    assert 0 < len(state.read_text().splitlines()) < 20
    kept = state.read_text()
    whole = verify(sealed, unit_norm=False, fresh=True)
    assert not state.exists() and whole.bytes_read == whole.bytes
    state.write_text(kept + '{"half a li')
    overwrite(sealed / "crop/box/c.0.0.0", (sealed / "crop/box/c.0.0.0").read_bytes()[::-1])
    again = verify(sealed, unit_norm=False)
    assert 0 < again.bytes_read < again.bytes == whole.bytes
    assert [finding.file for finding in again.findings] == ["crop/box/c.0.0.0"], "a file changed since does not count"
    assert not state.exists()
    state.write_text(kept)
    assert verify(sealed, jobs=1).bytes_read == whole.bytes, "a check without norms says nothing of norms"


def test_a_folder_that_cannot_be_written(sealed, monkeypatch):
    real = Path.open

    def refuses(path, mode="r", *arguments, **options):
        if path.name.endswith(".verify.jsonl") and "a" in mode:
            raise OSError(30, "Read-only file system")
        return real(path, mode, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuses)
    verification = verify(sealed, unit_norm=False)
    assert verification.is_sound and verification.files == 36
    assert verification.notes == (
        f"{sealed}.verify.jsonl cannot be written (Read-only file system): if this check is cut off, it begins anew",
    )


def test_threads_find_the_same(sealed, monkeypatch):
    monkeypatch.setattr("fdbpl.cache_layout.verify._SMALL_BYTES", 0)
    swap(sealed / "teacher/embedding/c.0.1.0", sealed / "teacher/embedding/c.1.0.0")
    (sealed / "crop/box/c.0.0.0").unlink()
    assert verify(sealed, unit_norm=False, jobs=3) == verify(sealed, unit_norm=False, jobs=1)

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        verify(sealed, unit_norm=False, jobs=3, on_progress=interrupt)
