"""The copiers' lock: one at a time, told of whom they wait for, free when its holder dies."""

from __future__ import annotations

import errno
import subprocess
import sys

import pytest
from store_example import content

from fdbpl.cache_layout import copier_lock
from fdbpl.cache_layout.copier_lock import one_at_a_time
from fdbpl.cache_layout.errors import CacheError
from fdbpl.cache_layout.staging import plan_staging, stage_store


def test_a_waiter_is_told_for_whom_and_takes_over(undisturbed, tmp_path):
    """The holder is killed as soon as the waiter says that it waits for it."""
    lock = tmp_path / f".{plan_staging(undisturbed, tmp_path).target.name}.lock"
    script = (
        "import sys, pathlib; from fdbpl.cache_layout.copier_lock import one_at_a_time\n"
        "with one_at_a_time(pathlib.Path(sys.argv[1]), wait_seconds=0):\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(CacheError, match=f"held by process {holder.pid} on .* end it"):
        stage_store(undisturbed, tmp_path, wait_seconds=0)
    told = []

    def on_wait(line):
        told.append(line)
        holder.kill()

    path = stage_store(undisturbed, tmp_path, on_wait=on_wait)
    holder.communicate()
    assert told[0].startswith(f"waiting for process {holder.pid} on ")
    assert content(path) == content(undisturbed)
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


def test_a_lock_whose_name_went_is_not_trusted(tmp_path, monkeypatch):
    """A waiter opens the file just before its holder removes the name: another may have made it anew since."""
    lock = tmp_path / ".lock"
    really_open = copier_lock._open
    opened = []

    def open_too_early(path):
        descriptor = really_open(path)
        opened.append(descriptor)
        if len(opened) == 1:
            path.unlink()
        return descriptor

    monkeypatch.setattr(copier_lock, "_open", open_too_early)
    with one_at_a_time(lock, wait_seconds=0):
        assert len(opened) == 2
        assert lock.exists()
        with pytest.raises(CacheError, match="held by process"), one_at_a_time(lock, wait_seconds=0):
            pytest.fail("two at a time")
    assert not lock.exists()


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with (
        pytest.raises(CacheError, match=r"no lock can be had .* local disk"),
        one_at_a_time(tmp_path / "l", wait_seconds=0),
    ):
        pytest.fail("entered without a lock")
