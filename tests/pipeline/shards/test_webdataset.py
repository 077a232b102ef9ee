"""Split files of shards that came without one: labels, names, order, and every fault told."""

import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from fdbpl.pipeline.datasets.split_json import read_split_json
from fdbpl.pipeline.shards.sample_label import read_class_names
from fdbpl.pipeline.shards.webdataset import list_shards

MakeTar = Callable[..., Path]


def test_shards_with_cls_members(tmp_path: Path, make_tar: MakeTar) -> None:
    """The same keys in the train and in the test shards, as benchmarks of CLIP have it."""
    make_tar(
        tmp_path / "train/1.tar", {"s1.cls": b"1\n", "s1.webp": b"", "s0.jpg": b"", "s0.cls": b"0", "s0.txt": b"?"}
    )
    make_tar(tmp_path / "train/0.tar", {"./d/s 9.JPEG": b"", "./d/s 9.cls": b" 1", "notes.cls": b"?", "README": b""})
    make_tar(tmp_path / "test/0.tar", {"s0.png": b"", "s0.cls": b"1"})
    lists = list_shards(tmp_path, {"train": "train/*.tar", "val": "", "test": "test/{0..0}.tar"}, ["cat", "wire_fox"])
    assert lists == {
        "train": [
            ("train/0.tar/d/s 9.JPEG", 1, "wire_fox"),
            ("train/1.tar/s1.webp", 1, "wire_fox"),
            ("train/1.tar/s0.jpg", 0, "cat"),
        ],
        "val": [],
        "test": [("test/0.tar/s0.png", 1, "wire_fox")],
    }
    (tmp_path / "split.json").write_text(json.dumps(lists))
    data = read_split_json("wds", tmp_path, ".", "split.json")
    assert (data.class_names, data.train.labels) == (("cat", "wire_fox"), (1, 1, 0))


def test_labels_and_names_from_json(tmp_path: Path, make_tar: MakeTar) -> None:
    facts = [{"label": 0, "class_name": "cat"}, {"cls": 1, "class_name": "dog"}, {"label": 7, "class_name": "dog"}]
    members = {f"{number}.json": json.dumps(fact).encode() for number, fact in enumerate(facts)}
    make_tar(tmp_path / "a.tar", {**members, **{f"{number}.jpg": b"" for number in range(3)}, "2.cls": b"1"})
    expected = [("a.tar/0.jpg", 0, "cat"), ("a.tar/1.jpg", 1, "dog"), ("a.tar/2.jpg", 1, "dog")]
    assert list_shards(tmp_path, {"train": "a.tar"}) == {"train": expected}, "the .cls goes before"


def test_every_fault_of_samples_is_told_at_once(tmp_path: Path, make_tar: MakeTar) -> None:
    samples = {
        "1.jpg": b"",
        "2.jpg": b"",
        "2.cls": b"two",
        "3.jpg": b"",
        "3.cls": b"9",
        "4.jpg": b"",
        "4.PNG": b"",
        "4.cls": b"0",
        "5.jpg": b"",
        "5.json": b"{",
        "6.jpg": b"",
        "6.json": b"[]",
        "7.jpg": b"",
        "7.json": b'{"label": true}',
        "8.jpg": b"",
        "8.cls": b"-1",
        "9.jpg": b"",
        "9.json": b'{"label": -3}',
        "../10.jpg": b"",
        "good.jpg": b"",
        "good.cls": b"0",
    }
    shard = make_tar(tmp_path / "a.tar", samples)
    with tarfile.open(shard, "a") as tar:
        info = tarfile.TarInfo("link.jpg")
        info.type, info.linkname = tarfile.SYMTYPE, "good.jpg"
        tar.addfile(info)
    with pytest.raises(ValueError) as caught:
        list_shards(tmp_path, {"train": "a.tar"}, ["cat"])
    assert [line.removeprefix(f"  {shard}: ").partition(":")[0] for line in str(caught.value).splitlines()[:2]] == [
        f"found 11 faults in the shards of {tmp_path}",
        "link.jpg",
    ]
    for message in (
        "found no label of '1', expected 1.cls, or 1.json with label or cls",
        "2.cls: found b'two', expected a whole number of 0 or more",
        "3.jpg: found label 9, expected one of 1 classes",
        "found several images of the sample '4', expected one: 4.jpg, 4.PNG",
        "5.json is not JSON: ",
        "6.json: found list, expected an object with label or cls",
        "7.json: found the label True, expected a whole number",
        "8.cls: found b'-1'",
        "9.json: found the label -3",
        "found the member '../10.jpg', expected a path without '..'",
    ):
        assert f"{shard}: {message}" in str(caught.value)


def test_long_lists_of_faults_are_cut(tmp_path: Path, make_tar: MakeTar) -> None:
    make_tar(tmp_path / "a.tar", {f"{number}.jpg": b"" for number in range(50)})
    with pytest.raises(ValueError, match=r"(?s)found 50 faults.*\.\.\. and 30 more$"):
        list_shards(tmp_path, {"train": "a.tar"}, ["cat"])


@pytest.mark.parametrize(
    ("patterns", "names", "message"),
    [
        ({"train": "b.tar"}, ["x", "y"], r"there is no shard .*/b\.tar"),
        ({"train": "a.tar", "test": "*.tar"}, ["x", "y"], r"a\.tar as a shard of train and of test"),
        ({"train": "/a.tar"}, ["x", "y"], "expected a pattern that is relative to"),
        ({"train": "a.tar"}, ["x", "y", "z"], r"no image of 1 classes .*: 2 \(z\); expected labels from 0 on"),
        ({"train": "a.tar"}, ["x", "x"], "found 'x' as the class name of two labels"),
        (
            {"train": "a.tar"},
            None,
            r"found no class name of '0', expected a file of class names, or class_name in 0\.json",
        ),
        ({"train": "far.tar"}, None, r"no image of 10000 classes .*: 0 \(no name\), "),
        ({"train": "names.tar"}, None, r"1\.jpg: label 0 is 'cat' elsewhere, found 'dog'"),
        ({"train": "cut.tar"}, ["x", "y"], r"cut\.tar: the shard is cut short"),
    ],
)
def test_what_else_is_refused(
    tmp_path: Path, make_tar: MakeTar, patterns: dict[str, str], names: list[str] | None, message: str
) -> None:
    make_tar(tmp_path / "a.tar", {"0.jpg": b"", "0.cls": b"0", "1.jpg": b"", "1.cls": b"1"})
    make_tar(tmp_path / "far.tar", {"0.jpg": b"", "0.json": b'{"label": 10000, "class_name": "far"}'})
    named = {f"{n}.json": b'{"label": 0, "class_name": "%s"}' % word for n, word in enumerate((b"cat", b"dog"))}
    make_tar(tmp_path / "names.tar", {**named, "0.jpg": b"", "1.jpg": b""})
    cut = make_tar(tmp_path / "cut.tar", {"0.jpg": b"", "0.cls": b"0"})
    cut.write_bytes(cut.read_bytes()[:1536])
    patterns = {split: pattern.replace("*", "[a]") for split, pattern in patterns.items()}
    with pytest.raises(ValueError, match=message):
        list_shards(tmp_path, patterns, names)


def test_class_names_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    path.write_text("cat\nwire_fox terrier \n\n")
    assert read_class_names(path) == ["cat", "wire_fox terrier"]
    for content, message in ((b"cat\n\ndog\n", "found an empty line"), (b"", "empty"), (b"\xff", "cannot read")):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            read_class_names(path)
    with pytest.raises(ValueError, match="No such file"):
        read_class_names(tmp_path / "none.txt")
