"""Bytes by path, from files and from shards: the same for all, many threads at once, and after a fork."""

import errno
import os
import signal
import tarfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fdbpl.pipeline.loading.decoder import UnreadableImage
from fdbpl.pipeline.loading.image_file import read_image_file
from fdbpl.pipeline.shards import files
from fdbpl.pipeline.shards.files import file_facts, lacking, read_file
from fdbpl.pipeline.shards.index import index_path, write_index
from fdbpl.pipeline.shards.members import ShardError, read_members
from fdbpl.pipeline.shards.shard_set import OpenFiles

MakeTar = Callable[..., Path]
Picture = Callable[[int], bytes]
LONG = "folder/" + "long " * 40 + "ü.jpg"


def num_open() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_PROCESSES", {})


def test_a_path_into_a_tar_reads_the_member(tmp_path: Path, make_tar: MakeTar) -> None:
    make_tar(tmp_path / "a.tar", {"x/1.jpg": b"one", LONG: b"long", "deep.tar/2.jpg": b"two", "empty.jpg": b""})
    (tmp_path / "folder.tar").mkdir()
    (tmp_path / "folder.tar" / "3.jpg").write_bytes(b"three")
    make_tar(tmp_path / "folder.tar" / "b.tar", {"4.jpg": b"four"})
    for path, content in (
        ("a.tar/x/1.jpg", b"one"),
        (f"a.tar/{LONG}", b"long"),
        ("a.tar/deep.tar/2.jpg", b"two"),
        ("a.tar/empty.jpg", b""),
        ("folder.tar/3.jpg", b"three"),
        ("folder.tar/b.tar/4.jpg", b"four"),
    ):
        assert read_file(tmp_path / path) == content
        assert file_facts(tmp_path / path)[0] == len(content)
    assert read_file(tmp_path / "a.tar")[:7] == b"x/1.jpg", "the tar itself is a file"


def test_a_member_is_found_in_whichever_shard_of_a_pattern_has_it(tmp_path: Path, make_tar: MakeTar) -> None:
    for number in range(3):
        members = {f"c/{number}.jpg": b"%d" % number, "both.cls": b""}
        make_tar(tmp_path / f"s-{number}.tar", {**members, **({"both.jpg": b""} if number else {})})
    for pattern in ("s-*.tar", "s-{0..2}.tar"):
        assert [read_file(tmp_path / pattern / f"c/{number}.jpg") for number in range(3)] == [b"0", b"1", b"2"]
        with pytest.raises(ShardError) as caught:
            read_file(tmp_path / pattern / "both.jpg")
        places = [tmp_path / f"s-{number}.tar" for number in (1, 2)]
        reason = f"it is in {places[0]} and in {places[1]}"
        assert caught.value.strerror == f"member 'both.jpg' of {tmp_path / pattern}: {reason}"


def test_what_cannot_be_read_is_an_unreadable_image_with_shard_and_member(
    tmp_path: Path, make_tar: MakeTar, picture: Picture
) -> None:
    tar = make_tar(tmp_path / "a.tar", {"1.jpg": picture(1), "2.jpg": picture(2)})
    tar.write_bytes(tar.read_bytes()[: 512 + 1024 + 512 + 100])
    with tarfile.open(tmp_path / "links.tar", "w") as links:
        info = tarfile.TarInfo("l.jpg")
        info.type, info.linkname = tarfile.SYMTYPE, str(tmp_path / "plain.jpg")
        links.addfile(info)
    (tmp_path / "plain.jpg").write_bytes(picture(3))
    make_tar(tmp_path / "b.tar.gz", {"1.jpg": picture(1)}, mode="w:gz")
    assert read_image_file(tmp_path / "a.tar/1.jpg", 0).width == 21
    for path, reason in (
        ("a.tar/2.jpg", f"the shard {tar} is cut short: "),
        ("a.tar/3.jpg", f"{tar} has no member '3.jpg'; {tar}: the shard is cut short or damaged: unexpected end of"),
        ("links.tar/l.jpg", f"in {tmp_path / 'links.tar'}, it is a link to "),
        ("links.tar/../plain.jpg", "has no member '../plain.jpg'"),
        ("none.tar/1.jpg", f"there is no shard {tmp_path / 'none.tar'}"),
        ("b.tar.gz/1.jpg", f"{tmp_path / 'b.tar.gz'}: it is compressed, and its members cannot be read one by one"),
        ("plain.jpg/1.jpg", "Not a directory"),
        ("missing.jpg", "No such file or directory"),
    ):
        with pytest.raises(UnreadableImage) as caught:
            read_image_file(tmp_path / path, 7)
        assert reason in caught.value.reason and caught.value.index == 7
        assert str(caught.value).startswith(f"image 7 ({tmp_path / path}) cannot be read: ")


def test_a_shard_that_is_none_costs_its_own_images_only_and_is_read_once(
    tmp_path: Path, make_tar: MakeTar, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_tar(tmp_path / "s-0.tar", {"0.jpg": b"zero"})
    make_tar(tmp_path / "s-1.tar", {"1.jpg": b"one"}, mode="w:gz")
    (tmp_path / "s-2.tar").write_bytes(b"<html>" * 500)
    opened: list[Path] = []
    monkeypatch.setattr(
        "fdbpl.pipeline.shards.index.read_members", lambda path: (opened.append(path), read_members(path))[1]
    )
    for _ in range(3):
        assert read_file(tmp_path / "s-*.tar/0.jpg") == b"zero"
        with pytest.raises(ShardError, match=r"no member '1\.jpg'; .*s-1\.tar is a gzip.*; .*s-2\.tar is not a tar"):
            read_file(tmp_path / "s-*.tar/1.jpg")
    assert [path.name for path in opened] == ["s-0.tar", "s-1.tar", "s-2.tar"]


def test_a_shard_that_changes_while_it_is_in_use_is_refused(tmp_path: Path, make_tar: MakeTar) -> None:
    tar = make_tar(tmp_path / "a.tar", {"1.jpg": b"one"})
    assert file_facts(tar / "1.jpg")[0] == 3, "the members are known, the file is not open yet"
    make_tar(tar, {"0.jpg": b"zero", "1.jpg": b"other"})
    os.utime(tar, ns=(1, 1))
    with pytest.raises(ShardError, match="was changed while it was in use: start again"):
        read_file(tar / "1.jpg")


def test_an_index_is_used_as_long_as_it_fits(
    tmp_path: Path, make_tar: MakeTar, monkeypatch: pytest.MonkeyPatch
) -> None:
    tar = make_tar(tmp_path / "a.tar", {"1.jpg": b"one", LONG: b"two"})
    write_index(tar)
    with monkeypatch.context() as patch:
        patch.setattr("fdbpl.pipeline.shards.index.read_members", lambda path: pytest.fail("the headers were read"))
        assert (read_file(tar / "1.jpg"), read_file(tar / LONG)) == (b"one", b"two")
    for spoil in (
        lambda: os.utime(tar, ns=(5, 5)),
        lambda: index_path(tar).write_text("{"),
        lambda: index_path(tar).write_text("[]"),
        lambda: make_tar(tar, {"0.jpg": b"0", "1.jpg": b"one", LONG: b"two"}),
    ):
        write_index(tar)
        spoil()
        monkeypatch.setattr(files, "_PROCESSES", {})
        assert (read_file(tar / "1.jpg"), read_file(tar / LONG)) == (b"one", b"two")
    tar.write_bytes(tar.read_bytes()[:-9000])
    with pytest.raises(ShardError, match="the shard is damaged: what is at byte"):
        write_index(tar)


def test_many_threads_read_many_shards_through_few_open_files(
    tmp_path: Path, make_tar: MakeTar, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = {(shard, name): os.urandom(500 + 13 * name) for shard in range(12) for name in range(20)}
    for shard in range(12):
        make_tar(tmp_path / f"{shard}.tar", {f"{n}.jpg": content[shard, n] for n in range(20)})
    here = files._process()
    monkeypatch.setattr(here, "files", OpenFiles(limit=3))
    wanted = [(shard, name) for name in range(20) for shard in range(12)] * 10
    before = num_open()
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda one: read_file(tmp_path / f"{one[0]}.tar/{one[1]}.jpg"), wanted))
    assert found == [content[one] for one in wanted]
    assert len(here.files) == 3 and num_open() <= before + 3


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_process_that_is_forked_reads_on(tmp_path: Path, make_tar: MakeTar) -> None:
    """The parent's lock is held at the fork, as by another of its threads; both go on reading."""
    content = {f"{number}.jpg": os.urandom(3000) for number in range(50)}
    tar = make_tar(tmp_path / "a.tar", content)
    assert read_file(tar / "0.jpg") == content["0.jpg"]
    lock = files._process().files._lock
    with lock:
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            os._exit(0 if all(read_file(tar / name) == content[name] for name in content) else 1)
    assert all(read_file(tar / name) == content[name] for name in content)
    assert os.waitpid(child, 0)[1] == 0


def test_a_read_that_fails_names_the_shard(tmp_path: Path, make_tar: MakeTar, monkeypatch: pytest.MonkeyPatch) -> None:
    tar = make_tar(tmp_path / "a.tar", {"1.jpg": b"one"})

    def fail(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "pread", fail)
    with pytest.raises(ShardError, match=r"the shard .*/a\.tar cannot be read: Input/output error"):
        read_file(tar / "1.jpg")


def test_where_images_may_lie(tmp_path: Path, make_tar: MakeTar) -> None:
    make_tar(tmp_path / "a.tar", {})
    assert lacking(tmp_path) == lacking(tmp_path / "a.tar") == lacking(tmp_path / "*.tar") == ""
    assert lacking(tmp_path / "none") == f"there is no folder {tmp_path / 'none'}"
    assert lacking(tmp_path / "b-*.tar").startswith("found no shard")
    assert "compressed" in lacking(tmp_path / "a.tar.gz")
