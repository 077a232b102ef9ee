"""Disks that are full, at a limit, or not ours to write: a clear error, nothing half written, and it goes on later."""

from __future__ import annotations

import errno
import os
import resource
import signal
from pathlib import Path

import pytest
from store_example import arguments, content, finish, overwrite, resume, rows_of_block

from fdbpl.cache_layout.create import create_store
from fdbpl.cache_layout.errors import CacheError
from fdbpl.cache_layout.grow import add_campaign
from fdbpl.cache_layout.reader import open_reader
from fdbpl.cache_layout.seal import seal
from fdbpl.cache_layout.store import open_store
from fdbpl.cache_layout.writer import write_block


def leftovers(folder: Path) -> list[str]:
    return [name for name in content(folder) if ".tmp-" in name]


def fill_up(folder: Path) -> Path:
    """Take all the space that is left."""
    path = folder / "ballast"
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError as error:
            assert error.errno == errno.ENOSPC
    return path


def test_a_disk_that_runs_full_while_blocks_are_written(small_disk, undisturbed):
    store = create_store(small_disk / "store", **arguments())
    ballast = fill_up(small_disk)
    os.truncate(ballast, ballast.stat().st_size - 3 * 4096)  # room for some of a block's four files
    before = content(store.path)
    block = store.blocks("teacher")[0]
    with pytest.raises(OSError, match=r"No space left on device: .*/store/.*\.tmp-"):
        write_block(store, "teacher", block, rows_of_block(store, block))
    finals = {name: data for name, data in content(store.path).items() if name not in before}
    assert not leftovers(small_disk)
    assert not finals, "no file under a final name of a block that is not whole"
    ballast.unlink()
    resume(store.path)
    seal(store.path)
    assert content(store.path) == content(undisturbed)


@pytest.mark.parametrize("pages", range(0, 80, 4))
def test_a_disk_that_is_full_at_any_moment(small_disk, undisturbed, pages):
    """From no room at all to room for nearly all of it: what is published is always whole."""
    (small_disk / "room").write_bytes(bytes(4096 * pages))
    ballast = fill_up(small_disk)
    (small_disk / "room").unlink()
    path = small_disk / "store"
    with pytest.raises(OSError, match="No space left on device") as caught:
        finish(path)
    assert caught.value.errno == errno.ENOSPC
    assert not leftovers(small_disk)
    if path.exists():
        store = open_store(path)
        assert not store.is_sealed
        whole = content(undisturbed)
        for name, data in content(path).items():
            if "/c." in name:
                assert data == whole[name]
    ballast.unlink()
    finish(path)
    assert content(path) == content(undisturbed)


def test_a_limit_on_file_size_leaves_nothing(tmp_path):
    """RLIMIT_FSIZE stops the write itself, in a child so that the limit stays there."""
    store = create_store(tmp_path / "store", **arguments())
    before = content(store.path)
    block = store.blocks("teacher")[0]
    rows = rows_of_block(store, block)
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        try:
            write_block(store, "teacher", block, rows)
        except OSError as error:
            os._exit(7 if error.errno == errno.EFBIG and ".tmp-" in str(error) else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert content(store.path) == before


def as_nobody(work) -> str:
    """What `work` says when it runs in a child without root's rights."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setegid(65534)
                os.seteuid(65534)
            said = str(work())
        except (OSError, ValueError, CacheError) as error:
            said = f"{type(error).__name__}: {error}"
        os.write(write, said.encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


@pytest.fixture
def elsewhere() -> Path:
    """A folder that everyone may enter: pytest's own are private."""
    import shutil
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="fdbpl-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


# Newer Pythons warn of every fork beside threads; zarr-python keeps some, and resets them in the child.
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_store_that_is_not_ours_is_read_and_not_written(elsewhere):
    path = elsewhere / "store"
    store = finish(path)
    before = content(path)

    def read():
        with open_reader(path) as reader:
            return reader.read("crop/box", [1, 9], [0, 4]).sum()

    assert as_nobody(read) == str(read())
    block = store.blocks("teacher")[0]
    rows = rows_of_block(store, block)
    assert as_nobody(lambda: write_block(store, "teacher", block, rows)).startswith("PermissionError: [Errno 13]")
    assert as_nobody(lambda: add_campaign(store, "new", [store.arrays["crop/box"]])).startswith("ValueError")
    assert content(path) == before


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_file_that_may_not_be_read_is_named(elsewhere):
    path = elsewhere / "store"
    finish(path)
    shard = path / "crop/box/c.0.0.0"
    shard.chmod(0)

    def read():
        with open_reader(path) as reader:
            return reader.read("crop/box", [0], [0])

    assert as_nobody(read) == f"PermissionError: [Errno 13] Permission denied: '{shard}'"
    overwrite(shard, shard.read_bytes() if os.geteuid() == 0 else b"")
