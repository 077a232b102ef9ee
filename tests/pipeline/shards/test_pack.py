"""Shards made of a data set: what is in them, the same bytes each time, and what a second call keeps or refuses."""

import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from fdbpl.pipeline.data import pack
from fdbpl.pipeline.data.pack import ShardPlan, plan_shards, write_shards
from fdbpl.pipeline.data.packed import bytes_to_write, check_made, look_at_images
from fdbpl.pipeline.datasets.data_set import DataSet, Split
from fdbpl.pipeline.shards import files
from fdbpl.pipeline.shards.files import read_file
from fdbpl.pipeline.shards.index import has_index, index_path

Picture = Callable[[int], bytes]


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_PROCESSES", {})


@pytest.fixture
def data(tmp_path: Path, picture: Picture) -> DataSet:
    """Seven training images, of which one is a test image too, with names that ask for long headers."""
    paths = ["b/1.jpg", "a/ü 0.25.png", "c/" + "long " * 40 + "3.JPEG", "a/4.jpg", "x.tar/5.jpg", "a/6.jpg", "7.jpg"]
    for number, path in enumerate([*paths, "t.jpg"]):
        (tmp_path / "images" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / path).write_bytes(picture(number))
    return DataSet(
        name="things",
        root=tmp_path / "images",
        class_names=tuple("abcdefghijkl"),
        train=Split(paths=tuple(paths), labels=(11, 0, 2, 0, 3, 0, 4)),
        val=Split(paths=(), labels=()),
        test=Split(paths=("a/4.jpg", "t.jpg"), labels=(0, 1)),
    )


def pack_all(data: DataSet, out: Path, images_per_shard: int = 3) -> list[ShardPlan]:
    plans = plan_shards(data, out, images_per_shard)
    check_made(out, plans, look_at_images(data.root, plans))
    write_shards(data.root, plans, lambda done, total: None)
    return plans


def test_members_are_the_images_and_their_labels_in_the_lists_order(data: DataSet, tmp_path: Path) -> None:
    pack_all(data, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if not path.name.endswith(".index")) == [
        "test-000000.tar",
        "train-000000.tar",
        "train-000001.tar",
        "train-000002.tar",
    ]
    with tarfile.open(tmp_path / "out" / "train-000000.tar") as tar:
        first = data.train.paths[:3]
        labels = ["b/1.cls", "a/ü 0.25.cls", first[2].replace("JPEG", "cls")]
        assert tar.getnames() == [name for pair in zip(first, labels, strict=True) for name in pair]
        for path, label, value in zip(first, labels, (b"11", b"0", b"2"), strict=True):
            members = tar.extractfile(path), tar.extractfile(label)
            assert members[0] is not None and members[0].read() == (data.root / path).read_bytes()
            assert members[1] is not None and members[1].read() == value
        assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in tar} == {(0, 0, 0, "", "", 0o644)}
    with tarfile.open(tmp_path / "out" / "test-000000.tar") as tar:
        assert tar.getnames() == ["t.jpg", "t.cls"], "an image of two lists is there once"
    assert (tmp_path / "out" / "train-000000.tar").stat().st_size % 10240 == 0


@pytest.mark.skipif(shutil.which("tar") is None, reason="no tar program")
def test_the_tar_program_reads_them(data: DataSet, tmp_path: Path) -> None:
    for plan in pack_all(data, tmp_path / "out"):
        subprocess.run(["tar", "-C", tmp_path, "-xf", plan.path], check=True)
    for path in (*data.train.paths, *data.test.paths):
        assert (tmp_path / path).read_bytes() == (data.root / path).read_bytes()


def test_images_are_read_from_the_shards_as_from_the_folder(data: DataSet, tmp_path: Path) -> None:
    plans = pack_all(data, tmp_path / "out")
    assert all(has_index(plan.path) for plan in plans)
    for path in (*data.train.paths, *data.test.paths):
        assert read_file(tmp_path / "out" / "*.tar" / path) == read_file(data.root / path)


def test_the_same_images_give_the_same_bytes(
    data: DataSet, tmp_path: Path, digests: Callable[[Path], dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def tars(folder: Path) -> dict[str, str]:
        return {name: digest for name, digest in digests(folder).items() if name.endswith(".tar")}

    pack_all(data, tmp_path / "out")
    for path in data.train.paths:
        os.utime(data.root / path, ns=(1, 1))
    monkeypatch.setattr(pack, "AHEAD", 2)
    pack_all(data, tmp_path / "again")
    assert len(tars(tmp_path / "out")) == 4 and tars(tmp_path / "out") == tars(tmp_path / "again")
    from_shards = DataSet(**{**vars(data), "root": tmp_path / "out" / "*.tar"})
    pack_all(from_shards, tmp_path / "from shards")
    assert tars(tmp_path / "out") == tars(tmp_path / "from shards")


def test_work_that_was_cut_off_goes_on(data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    plans = plan_shards(data, out, 3)

    def read_some(path: Path) -> bytes:
        if path.name == "5.jpg":
            raise KeyboardInterrupt
        return read_file(path)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(pack, "read_file", read_some)
        pack_all(data, out)
    assert sorted(path.name for path in out.iterdir()) == ["train-000000.tar", "train-000000.tar.index"]
    index_path(plans[0].path).unlink()
    made = plans[0].path.stat().st_mtime_ns
    seen: list[tuple[int, int]] = []
    check_made(out, plans, look_at_images(data.root, plans))
    write_shards(data.root, plans, lambda done, total: seen.append((done, total)))
    assert plans[0].path.stat().st_mtime_ns == made and has_index(plans[0].path)
    assert seen == [(done, 8) for done in range(3, 9)]
    assert bytes_to_write(plans, look_at_images(data.root, plans)) == 0


def test_other_content_is_not_written_over(data: DataSet, tmp_path: Path) -> None:
    out = tmp_path / "out"
    pack_all(data, out)
    with pytest.raises(ValueError, match=r"found train-000002\.tar in .*out, expected no other tars there"):
        pack_all(data, out, images_per_shard=4)

    def refused(other: DataSet, reason: str) -> None:
        with pytest.raises(ValueError, match=rf"found .*train-00000[01]\.tar, made of .*\({reason}\)"):
            pack_all(other, out)

    paths, labels = data.train.paths, data.train.labels
    renamed = Split(paths=(paths[1], paths[0], *paths[2:]), labels=labels)
    refused(DataSet(**{**vars(data), "train": renamed}), "other names")
    relabelled = Split(paths=paths, labels=(10, *labels[1:]))
    refused(DataSet(**{**vars(data), "train": relabelled}), r"another label in b/1\.cls")
    image = data.root / "a/4.jpg"
    content = image.read_bytes()
    image.write_bytes(content + b"x")
    refused(data, r"another size of a/4\.jpg")
    image.write_bytes(content)
    os.utime(image, ns=(2**62, 2**62))
    refused(data, r"a/4\.jpg was changed since")


def test_missing_images_are_all_told(data: DataSet, tmp_path: Path) -> None:
    for path in ("b/1.jpg", "t.jpg"):
        (data.root / path).unlink()
    with pytest.raises(ValueError, match=r"(?s)2 of 8 images cannot be read.*b/1\.jpg: No such file.*t\.jpg: No such"):
        pack_all(data, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_images_that_would_share_a_label_are_refused(data: DataSet, tmp_path: Path) -> None:
    twins = DataSet(**{**vars(data), "val": Split(paths=("b/1.png",), labels=(0,))})
    with pytest.raises(ValueError, match=r"things: found the images 'b/1\.jpg' and 'b/1\.png'"):
        plan_shards(twins, tmp_path / "out", 3)
