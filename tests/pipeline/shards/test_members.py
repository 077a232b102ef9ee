"""Headers of tars from several writers; what is no plain member, and tars that end wrongly."""

import gzip
import os
import random
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from fdbpl.pipeline.shards.members import Members, ShardError, read_members

MakeTar = Callable[..., Path]

LONG = "a folder with a long name " * 8 + "/" + "ä name that no ustar header can hold " * 5 + ".jpg"
FILES = {"1.jpg": b"one", "dir/2.JPEG": b"", "dir/ü 3.png": b"x" * 1300, LONG: b"four", "1.cls": b"0"}


def contents(tar: Path, members: Members) -> dict[str, bytes]:
    data = tar.read_bytes()
    places = zip(members.names, members.offsets, members.sizes, strict=True)
    return {name: data[offset : offset + size] for name, offset, size in places}


@pytest.mark.parametrize("kind", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_tars_of_the_standard_library(tmp_path: Path, make_tar: MakeTar, kind: int) -> None:
    tar = make_tar(tmp_path / "a.tar", FILES, kind=kind)
    members = read_members(tar)
    assert list(members.names) == list(FILES), "in the tar's order"
    assert contents(tar, members) == FILES
    assert (members.refused, members.damage) == ({}, "")


@pytest.mark.skipif(shutil.which("tar") is None, reason="no tar program")
@pytest.mark.parametrize("form", ["gnu", "posix"])
def test_tars_of_the_program(tmp_path: Path, form: str) -> None:
    for name, content in FILES.items():
        (tmp_path / "files" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "files" / name).write_bytes(content)
    tar = tmp_path / "a.tar"
    subprocess.run(["tar", f"--format={form}", "-C", tmp_path / "files", "-cf", tar, "."], check=True)
    members = read_members(tar)
    assert contents(tar, members) == FILES, "without the leading ./, without folders"
    assert not members.damage


def test_an_empty_tar_has_no_member(tmp_path: Path, make_tar: MakeTar) -> None:
    members = read_members(make_tar(tmp_path / "a.tar", {}))
    assert (members.names, members.damage) == ((), "")


def test_what_is_no_plain_member_is_refused_with_the_reason(tmp_path: Path, make_tar: MakeTar) -> None:
    tar = make_tar(tmp_path / "a.tar", {"twice.jpg": b"1", "good.jpg": b"2"})
    (tmp_path / "secret").write_bytes(b"secret")
    with tarfile.open(tar, "a") as file:
        for name, kind, target in (
            ("soft.jpg", tarfile.SYMTYPE, "../secret"),
            ("hard.jpg", tarfile.LNKTYPE, "good.jpg"),
            ("pipe.jpg", tarfile.FIFOTYPE, ""),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            file.addfile(info)
        file.addfile(tarfile.TarInfo("twice.jpg"))
    members = read_members(tar)
    assert members.names == ("good.jpg",)
    assert members.refused == {
        "soft.jpg": "it is a link to '../secret', which is not followed: store the file itself (tar --dereference)",
        "hard.jpg": "it is a link to 'good.jpg', which is not followed: store the file itself (tar --dereference)",
        "pipe.jpg": "it is not a regular file",
        "twice.jpg": "it is in the shard more than once",
    }


def test_compressed_missing_and_foreign_files_are_refused(tmp_path: Path, make_tar: MakeTar) -> None:
    packed = make_tar(tmp_path / "packed.tar", FILES, mode="w:gz")
    with pytest.raises(ShardError, match=r"packed\.tar is a gzip file: it is compressed.*decompress it to a plain"):
        read_members(packed)
    with pytest.raises(ShardError, match=r"shard .*none\.tar cannot be read: No such file"):
        read_members(tmp_path / "none.tar")
    for content in (b"", b"<html>" * 1000, gzip.compress(b"x")[2:]):
        (tmp_path / "odd.tar").write_bytes(content)
        with pytest.raises(ShardError, match=r"odd\.tar is not a tar file, or is damaged at its start"):
            read_members(tmp_path / "odd.tar")


def test_a_tar_that_ends_wrongly_says_so(tmp_path: Path, make_tar: MakeTar) -> None:
    tar = make_tar(tmp_path / "a.tar", {"1.jpg": b"x" * 1000, "2.jpg": b"y" * 1000})
    whole = tar.read_bytes()
    end = 2 * (512 + 1024)
    for content, names, damage in (
        (whole[: end + 512], ["1.jpg", "2.jpg"], ""),
        (whole[:end], ["1.jpg", "2.jpg"], f"it stops at byte {end} without an end mark"),
        (whole[: end - 600], ["1.jpg", "2.jpg"], "unexpected end of data"),
        (whole[:1600], ["1.jpg"], "what is at byte 1536 is no header"),
        (whole[:1536] + b"z" * 512 + whole[2048:], ["1.jpg"], "what is at byte 1536 is no header"),
        (whole + whole, ["1.jpg", "2.jpg"], "after its end at byte 3072 the shard goes on"),
    ):
        tar.write_bytes(content)
        members = read_members(tar)
        assert list(members.names) == names
        assert damage in members.damage and bool(damage) == bool(members.damage)


def test_damage_is_never_an_endless_loop_nor_an_unknown_error(tmp_path: Path, make_tar: MakeTar) -> None:
    tar = make_tar(tmp_path / "a.tar", FILES)
    whole, generator = tar.read_bytes(), random.Random(0)
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(generator.randrange(1, 20)):
            damaged[generator.randrange(len(damaged))] = generator.randrange(256)
        tar.write_bytes(damaged)
        try:
            members = read_members(tar)
        except ShardError:
            continue
        assert all(size >= 0 for size in members.sizes)


def test_a_negative_size_does_not_lead_back(tmp_path: Path, make_tar: MakeTar) -> None:
    tar = make_tar(tmp_path / "a.tar", {"1.jpg": b"x" * 10, "2.jpg": b"y" * 10}, kind=tarfile.GNU_FORMAT)
    content = bytearray(tar.read_bytes())
    content[1024 + 124 : 1024 + 136] = b"\xff" * 10 + (2**16 - 2048).to_bytes(2, "big")
    content[1024 + 148 : 1024 + 156] = b" " * 8
    content[1024 + 148 : 1024 + 156] = b"%06o\0 " % sum(content[1024:1536])
    tar.write_bytes(content)
    members = read_members(tar)
    assert members.names == ("1.jpg",) and "a header with the size -" in members.damage


def test_sparse_files_are_refused(tmp_path: Path) -> None:
    if shutil.which("tar") is None:
        pytest.skip("no tar program")
    with (tmp_path / "hole.jpg").open("wb") as file:
        file.truncate(1 << 20)
        file.seek(0, os.SEEK_END)
        file.write(b"end")
    subprocess.run(["tar", "-C", tmp_path, "--sparse", "-cf", tmp_path / "a.tar", "hole.jpg"], check=True)
    assert read_members(tmp_path / "a.tar").refused == {"hole.jpg": "it is stored as a sparse file: store it whole"}
