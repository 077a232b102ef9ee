"""The copiers' lock: one at a time, told of whom they wait for, free when its holder dies."""

from __future__ import annotations

import subprocess
import sys

import pytest
from store_example import content

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


def test_a_lock_whose_name_was_removed_is_not_trusted(tmp_path):
    """The name goes with its holder: who was waiting for it must not enter beside one who made it anew."""
    lock = tmp_path / ".lock"
    order = []
    with one_at_a_time(lock, wait_seconds=0):
        lock.unlink()
        with one_at_a_time(lock, wait_seconds=0):
            order.append("second")
            with pytest.raises(CacheError), one_at_a_time(lock, wait_seconds=0):
                order.append("third")
    assert order == ["second"]
    assert not lock.exists()
