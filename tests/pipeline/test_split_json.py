"""CoOp's layout is read as it is, and each way to break it has its own message."""

import json
from pathlib import Path
from typing import Any

import pytest

from fdbpl.pipeline.datasets.data_set import Split
from fdbpl.pipeline.datasets.split_json import read_split_json

GOOD: dict[str, Any] = {
    "train": [["sub folder/ü 1.jpg", 1, "wire_fox terrier"], ["b.jpg", 0, "Abyssinian"]],
    "val": [],
    "test": [["c.jpg", 2, "pug"], ["d.jpg", 0, "Abyssinian"]],
}


def write(folder: Path, content: Any) -> Path:
    (folder / "images").mkdir(exist_ok=True)
    (folder / "split.json").write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return folder


def test_a_data_set_is_read_as_written(tmp_path: Path) -> None:
    data = read_split_json("pets", write(tmp_path, GOOD), "images", "split.json")
    assert (data.name, data.root) == ("pets", tmp_path / "images")
    assert data.class_names == ("Abyssinian", "wire_fox terrier", "pug")
    assert data.train == Split(paths=("sub folder/ü 1.jpg", "b.jpg"), labels=(1, 0))
    assert data.val == Split(paths=(), labels=())
    assert data.test == Split(paths=("c.jpg", "d.jpg"), labels=(2, 0))


@pytest.mark.parametrize("image_folder", ["", "."])
def test_images_may_lie_in_the_folder_itself(tmp_path: Path, image_folder: str) -> None:
    assert read_split_json("cars", write(tmp_path, GOOD), image_folder, "split.json").root == tmp_path


def test_missing_folders_and_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data set pets: there is no folder .*/nowhere"):
        read_split_json("pets", tmp_path / "nowhere", "images", "split.json")
    with pytest.raises(ValueError, match=r"there is no folder .*/pictures"):
        read_split_json("pets", write(tmp_path, GOOD), "pictures", "split.json")
    with pytest.raises(ValueError, match=r"cannot read the split file .*/other\.json: No such file"):
        read_split_json("pets", tmp_path, "images", "other.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON: "),
        ([1], "must hold the lists train, val, test; found list"),
        ({"train": [], "test": []}, r"must hold the lists train, val, test; found \['test', 'train'\]"),
        ({**GOOD, "val": {}}, "must hold the lists"),
        ({**GOOD, "val": [["e.jpg", 0]]}, r"val\[0\] is \['e.jpg', 0\]; expected \[path, label, class name\]"),
        ({**GOOD, "val": [["e.jpg", True, "pug"]]}, r"val\[0\] is .*True"),
        (
            {**GOOD, "val": [["e.jpg", 0, "pug"]]},
            "label 0 is 'Abyssinian' in one place and 'pug' in another .val, e.jpg",
        ),
        ({**GOOD, "val": [["e.jpg", 3, "pug"]]}, "class name 'pug' is there twice, as labels 2 and 3"),
        ({**GOOD, "val": [["e.jpg", 5, "cat"]]}, r"found 4 labels, up to 5, without \[3\]"),
        ({**GOOD, "val": [["e.jpg", -1, "cat"]]}, r"found 4 labels, up to 2, without \[3\]"),
        ({**GOOD, "val": [["../e.jpg", 0, "Abyssinian"]]}, "image 0: found the path '../e.jpg'"),
        ({"train": [], "val": [], "test": []}, "found 0 labels"),
    ],
)
def test_each_fault_is_told(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_split_json("pets", write(tmp_path, content), "images", "split.json")
