"""Folders of classes, in parts or split by a rule that looks at paths alone; each way to break them has its message."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.data.load import load_data
from fdbpl.pipeline.datasets.class_folders import read_class_folders, split_class
from fdbpl.pipeline.datasets.data_set import Split


def put(folder: Path, paths: Iterable[str]) -> Path:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(b"")
    return folder


def ten(folder: str) -> list[str]:
    return [f"{folder}/{number}.jpg" for number in range(10)]


def test_a_folder_is_all_that_a_config_needs(tmp_path: Path, read_section: Callable[..., RunConfig]) -> None:
    put(tmp_path / "my animals", [*ten("St. Bernard"), *ten("wire_fox terrier"), *ten("Ångström cat"), "README.txt"])
    put(
        tmp_path / "my animals",
        ["St. Bernard/README.md", "St. Bernard/.DS_Store", ".git/config", "St. Bernard/a.b.PNG"],
    )
    data = load_data(read_section('name = "animals"', 'folder = "my animals"').data)
    assert data.class_names == ("St. Bernard", "wire_fox terrier", "Ångström cat")
    assert (len(data.train), len(data.val), len(data.test)) == (16, 6, 9)
    every = [path for split in (data.train, data.val, data.test) for path in split.paths]
    assert sorted(every) == sorted(
        [*ten("St. Bernard"), *ten("wire_fox terrier"), *ten("Ångström cat"), "St. Bernard/a.b.PNG"]
    )


def test_the_split_of_a_class_never_changes() -> None:
    assert split_class(ten("cat")) == {
        "train": ["cat/0.jpg", "cat/2.jpg", "cat/4.jpg", "cat/7.jpg", "cat/8.jpg"],
        "val": ["cat/6.jpg", "cat/9.jpg"],
        "test": ["cat/1.jpg", "cat/3.jpg", "cat/5.jpg"],
    }
    assert split_class(ten("cat")[::-1]) == split_class(ten("cat"))


@pytest.mark.parametrize(("count", "sizes"), [(2, (1, 0, 1)), (3, (2, 0, 1)), (7, (4, 1, 2)), (100, (50, 20, 30))])
def test_the_shares_of_a_class(count: int, sizes: tuple[int, int, int]) -> None:
    parts = split_class([f"dog/{number}.jpg" for number in range(count)])
    assert tuple(len(parts[part]) for part in ("train", "val", "test")) == sizes


def test_an_image_more_moves_few_others() -> None:
    paths = [f"dog/{number}.jpg" for number in range(100)]
    before, after = split_class(paths), split_class([*paths, "dog/new.jpg"])
    moved = [path for part in before for path in before[part] if path not in after[part]]
    assert len(moved) <= 2


def test_parts_are_taken_as_they_are(tmp_path: Path) -> None:
    put(tmp_path, ["train/dog/b.jpg", "train/dog/a.jpg", "train/cat/1.jpg", "val/cat/2.jpg", "test/dog/3.webp"])
    data = read_class_folders("pets", tmp_path, ".")
    assert data.class_names == ("cat", "dog")
    assert data.train == Split(paths=("train/cat/1.jpg", "train/dog/a.jpg", "train/dog/b.jpg"), labels=(0, 1, 1))
    assert data.val == Split(paths=("val/cat/2.jpg",), labels=(0,))
    assert data.test == Split(paths=("test/dog/3.webp",), labels=(1,))


def test_without_a_test_folder_val_is_the_test(tmp_path: Path) -> None:
    data = read_class_folders("pets", put(tmp_path, ["train/cat/1.jpg", "val/cat/2.jpg"]), ".")
    assert data.val == data.test == Split(paths=("val/cat/2.jpg",), labels=(0,))


def test_a_test_folder_alone_is_a_test_set(tmp_path: Path) -> None:
    data = read_class_folders("pets", put(tmp_path, ["test/cat/1.jpg", "test/dog/2.jpg"]), ".")
    assert (len(data.train), len(data.val), data.test.paths) == (0, 0, ("test/cat/1.jpg", "test/dog/2.jpg"))


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    data = read_class_folders("vehicles", put(tmp_path, [*ten("train"), *ten("bus")]), ".")
    assert data.class_names == ("bus", "train")
    assert len(data.train) == 10


def test_links_are_followed_to_classes_and_not_within_them(tmp_path: Path) -> None:
    put(tmp_path / "elsewhere", ten("cat"))
    put(tmp_path / "data", ten("dog"))
    (tmp_path / "data" / "cat").symlink_to(tmp_path / "elsewhere" / "cat")
    (tmp_path / "data" / "dog" / "round").symlink_to(tmp_path / "data")
    data = read_class_folders("pets", tmp_path / "data", ".")
    assert data.class_names == ("cat", "dog")
    assert len(data.train) + len(data.val) + len(data.test) == 20


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (["a.jpg"], "found no folder in .*, expected one for each class, or train, val, test"),
        ([*ten("cat"), "dog/1.jpg"], "found a single image of dog in .*, expected at least 2 of each class"),
        ([*ten("cat"), "dog/notes.txt", "emu/x"], "found 2 class folders without an image in .*: dog, emu; bring"),
        ([*ten("cat"), "dog/puppies/1.jpg"], "found folders within dog of .*, expected images"),
        (["train/cat/1.jpg"], "found train in .*, expected train with val or test or both"),
        (["val/cat/1.jpg"], "found val in .*, expected train with val or test or both"),
        (
            ["train/cat/1.jpg", "val/cat/2.jpg", "extra/x.jpg"],
            "found train, val and extra in .*, expected train with val",
        ),
        (["train/cat/1.jpg", "test/cow/1.jpg"], "found the classes cow in .*/test that train does not have"),
        (["train/x.jpg", "test/cow/1.jpg"], "found no class folder in .*/train, expected some"),
    ],
)
def test_each_fault_is_told(paths: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"data set pets: {message}"):
        read_class_folders("pets", put(tmp_path, paths), ".")


def test_a_folder_that_is_not_there_or_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no folder .*/nowhere"):
        read_class_folders("pets", tmp_path, "nowhere")
    with pytest.raises(ValueError, match=r"found the shards .*/\*\.tar, expected a folder"):
        read_class_folders("pets", tmp_path, "shards/*.tar")


def test_a_name_that_is_not_unicode_is_told(tmp_path: Path) -> None:
    put(tmp_path, ten("cat"))
    (tmp_path / "cat" / "1.jpg").rename(tmp_path / "cat" / "\udce9.jpg")
    with pytest.raises(ValueError, match=r"found b'\\xe9\.jpg' in .*/cat, expected names in UTF-8"):
        read_class_folders("pets", tmp_path, ".")


def test_a_mistyped_name_is_asked_about(tmp_path: Path, read_section: Callable[..., RunConfig]) -> None:
    config = read_section('name = "caltech-101"', 'folder = "nowhere"')
    with pytest.raises(ValueError, match=r"no folder .*/nowhere \(did you mean the known data set 'caltech101'\?\)"):
        load_data(config.data)
