"""Writers and sealers that are killed: whatever the moment, going on gives the undisturbed store."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import store_example
from store_example import SPECS, arguments, content, finish, resume, rows_of_block

from fdbpl.cache_layout.array_spec import ArraySpec
from fdbpl.cache_layout.create import create_store
from fdbpl.cache_layout.grow import add_campaign
from fdbpl.cache_layout.seal import seal
from fdbpl.cache_layout.writer import write_block

NUM_KILLS = 200


def test_kill_9_at_random_moments(tmp_path, undisturbed, tell):
    started = time.perf_counter()
    finish(tmp_path / "timed")
    longest = 1.3 * (time.perf_counter() - started)
    folder = tmp_path / "killed"
    folder.mkdir()
    script = [sys.executable, store_example.__file__, str(folder), str(NUM_KILLS), str(longest), "0"]
    result = subprocess.run(script, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    kills, stores = map(int, result.stdout.split())
    assert kills == NUM_KILLS
    for number in range(stores):
        assert content(folder / f"store-{number}") == content(undisturbed)
    assert sorted(path.name for path in folder.iterdir()) == sorted(f"store-{n}" for n in range(stores))
    tell(f"{kills} kills, {stores} stores compared")


class Died(BaseException):
    """Stands for a kill: from its moment on, every call that would change the disk raises it again."""


def die_before(monkeypatch: pytest.MonkeyPatch, step: int) -> list[str]:
    """Let `step` changes of the disk happen, then none; the list returned grows with each."""
    done: list[str] = []

    def guard(owner, name):
        real = getattr(owner, name)

        def guarded(*args, **kwargs):
            if len(done) >= step:
                raise Died(name)
            done.append(name)
            return real(*args, **kwargs)

        monkeypatch.setattr(owner, name, guarded)

    for name in ("replace", "rename", "unlink", "rmdir", "mkdir"):
        guard(Path, name)
    for name in ("fsync", "fchmod"):
        guard(os, name)
    guard(shutil, "rmtree")
    return done


def every_moment(monkeypatch, prepare, act, stride=1):
    """Run `act` on a fresh `prepare()`, killed before every `stride`-th change of the disk; yield what each left."""
    for step in itertools.count(step=stride):
        state = prepare(step)
        with monkeypatch.context() as patch:
            die_before(patch, step)
            try:
                act(state)
            except Died:
                pass
            else:
                assert step > 5, "nothing was guarded"
                return
        yield state


def test_sealing_cut_off_at_every_step(tmp_path, monkeypatch, undisturbed):
    resume(tmp_path / "written")
    (tmp_path / "written/crop/box/.tmp-host-1-abc").write_bytes(b"left by a killed writer")

    def prepare(step):
        return Path(shutil.copytree(tmp_path / "written", tmp_path / f"{step}" / "store"))

    moments = 0
    for path in every_moment(monkeypatch, prepare, seal):
        seal(path)
        assert content(path) == content(undisturbed)
        assert not (path / ".records").exists()
        moments += 1
    assert moments > 12


def test_writing_a_block_cut_off_at_every_step(tmp_path, monkeypatch):
    def prepare(step):
        return create_store(tmp_path / f"{step}", **arguments())

    def act(store):
        block = store.grid.block(2, 2)
        write_block(store, "teacher", block, rows_of_block(store, block))

    reference = prepare("reference")
    act(reference)
    expected = content(reference.path)
    for store in every_moment(monkeypatch, prepare, act):
        finals = {name: data for name, data in content(store.path).items() if ".tmp-" not in name}
        assert finals.items() <= expected.items(), "a file under its final name is not whole"
        assert ".records/teacher/2.2.json" not in finals or finals == expected, "recorded before it was whole"
        act(store)
        assert store.missing_blocks("teacher") == reference.missing_blocks("teacher")
        finals = {name: data for name, data in content(store.path).items() if ".tmp-" not in name}
        assert finals == expected


def test_adding_a_campaign_cut_off_at_every_step(tmp_path, monkeypatch, undisturbed):
    spec = ArraySpec(name="student/ViT-B-32/embedding", row_shape=(2,), dtype="float16")

    def prepare(step):
        path = Path(shutil.copytree(undisturbed, tmp_path / f"{step}" / "store"))
        return create_store(path, **arguments())

    def act(store):
        add_campaign(store, "student/ViT-B-32", [spec])

    for store in every_moment(monkeypatch, prepare, act, stride=3):
        act(store)
        assert store.campaigns == {"teacher": SPECS, "student/ViT-B-32": (spec,)}
        for block in store.missing_blocks("student/ViT-B-32"):
            write_block(store, "student/ViT-B-32", block, rows_of_block(store, block, "student/ViT-B-32"))
        seal(store.path)
        assert not [name for name in content(store.path) if ".tmp-" in name or ".records" in name]


def test_creating_cut_off_at_every_step(tmp_path, monkeypatch, undisturbed):
    def prepare(step):
        return tmp_path / f"{step}" / "store"

    def act(path):
        create_store(path, **arguments())

    reference = content(create_store(tmp_path / "reference", **arguments()).path)
    for path in every_moment(monkeypatch, prepare, act, stride=9):
        assert not path.exists() or content(path) == reference
        act(path)
        assert content(path) == reference
        if len(list(path.parent.iterdir())) == 2:
            half_built = path
    # Sealing sweeps the building site that a kill left beside the store.
    finish(half_built)
    assert content(half_built) == content(undisturbed)
    assert [left.name for left in half_built.parent.iterdir()] == ["store"]
