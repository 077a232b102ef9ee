"""classnames.txt and the lists of FGVCAircraft, line by line."""

from pathlib import Path

import pytest

from fdbpl.pipeline.datasets.class_names import read_class_names
from fdbpl.pipeline.datasets.fgvc import read_fgvc
from fdbpl.pipeline.datasets.imagenet import read_imagenet
from fdbpl.pipeline.datasets.imagenet_variants import read_numbered_folders, read_wnid_folders


def write(folder: Path, text: str) -> Path:
    path = folder / "classnames.txt"
    path.write_bytes(text.encode())
    return path


def image(folder: Path, *paths: str) -> None:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(b"")


def test_names_have_spaces_and_lines_ends_of_any_kind(tmp_path: Path) -> None:
    path = write(
        tmp_path, "\ufeffn01440764 tench\r\n\r\nn07565083 jack-o'-lantern  \nn00000001 black and gold garden spider"
    )
    assert read_class_names(path) == {
        "n01440764": "tench",
        "n07565083": "jack-o'-lantern",
        "n00000001": "black and gold garden spider",
    }


def test_the_two_pairs_that_clip_calls_by_one_name_are_told_apart(tmp_path: Path) -> None:
    path = write(tmp_path, "n03773504 missile\nn04008634 missile\nn04355933 sunglasses\nn04356056 sunglasses\n")
    assert list(read_class_names(path).values()) == ["missile", "projectile", "sunglass", "sunglasses"]


def test_names_that_are_no_pair_are_kept(tmp_path: Path) -> None:
    """Only part of the classes, or another list: nothing needs to be told apart."""
    path = write(tmp_path, "n04008634 missile\nn04355933 dark glasses\nn04356056 sunglasses\n")
    assert list(read_class_names(path).values()) == ["missile", "dark glasses", "sunglasses"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("n01440764 tench\nn01443537\n", "line 2: found 'n01443537', expected a folder and its class name"),
        ("n01440764 tench\nn01440764 goldfish\n", "line 2: found the folder n01440764 for the second time"),
        (
            "n02012849 crane\nn03126707 crane\n",
            r"found one name for several classes \('crane' for n02012849 and n03126707\), expected different ones",
        ),
    ],
)
def test_faults_are_told_with_their_line(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"classnames.txt(,|:) {message}"):
        read_class_names(write(tmp_path, text))


def test_other_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "classnames.txt").write_bytes(b"n01440764 t\xe9nch\n")
    with pytest.raises(ValueError, match=r"classnames\.txt is not in UTF-8"):
        read_class_names(tmp_path / "classnames.txt")
    with pytest.raises(ValueError, match=r"cannot read .*/none\.txt: No such file"):
        read_class_names(tmp_path / "none.txt")


TWO = "n01440764 tench\nn01443537 goldfish\n"


def test_a_subset_of_imagenets_classes_is_read_too(tmp_path: Path) -> None:
    write(tmp_path, TWO)
    image(tmp_path, "images/train/n01443537/b.JPEG", "images/train/n01443537/a.JPEG", "images/val/n01443537/v.JPEG")
    data = read_imagenet("imagenet100", tmp_path, "images", "classnames.txt")
    assert data.class_names == ("goldfish",)
    assert data.train.paths == ("train/n01443537/a.JPEG", "train/n01443537/b.JPEG")
    assert data.val == data.test


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (["train/n01440764/1.JPEG"], "there is no folder .*/images/val"),
        (["val/n01440764/1.JPEG"], "there is no folder .*/images/train"),
        (
            ["train/n01440764/1.JPEG", "train/n01443537/1.JPEG", "val/n01440764/1.JPEG"],
            "found no class folder n01443537 in .*/images/val, expected the same in train and val",
        ),
        (
            ["train/n01440764/1.JPEG", "val/n01440764/1.JPEG", "val/n01443537/1.JPEG"],
            "found no class folder n01443537 in .*/images/train, expected the same in train and val",
        ),
        (["train/n9/1.JPEG", "val/n9/1.JPEG"], "found the class folders n9 in .*/train, which the class names do not"),
        (["train/x.JPEG", "val/x.JPEG"], "found no class folder in .*/images/train, expected some such as n01440764"),
        (
            ["train/n01440764/x.txt", "train/n01443537/1.JPEG", "val/n01440764/1.JPEG", "val/n01443537/1.JPEG"],
            "found 1 class folders without an image in .*/images/train: n01440764",
        ),
    ],
)
def test_faults_of_imagenets_folders_are_told(paths: list[str], message: str, tmp_path: Path) -> None:
    write(tmp_path, TWO)
    image(tmp_path, *(f"images/{path}" for path in paths))
    with pytest.raises(ValueError, match=f"data set imagenet: {message}"):
        read_imagenet("imagenet", tmp_path, "images", "classnames.txt")


def test_folders_of_v2_are_the_lines(tmp_path: Path) -> None:
    write(tmp_path, TWO)
    image(tmp_path, "v2/0/a.jpeg", "v2/2/b.jpeg")
    with pytest.raises(
        ValueError, match=r"found no class folder 1 \(goldfish\) in .*/v2, expected one for each of the 2"
    ):
        read_numbered_folders("imagenetv2", tmp_path, "v2", "classnames.txt")
    image(tmp_path, "v2/1/c.jpeg")
    with pytest.raises(ValueError, match=r"found the folders 2 in .*/v2, expected 0 to 1 only"):
        read_numbered_folders("imagenetv2", tmp_path, "v2", "classnames.txt")


def test_folders_of_the_other_variants_need_a_name(tmp_path: Path) -> None:
    write(tmp_path, TWO)
    image(tmp_path, "r/n01443537/a.jpg", "r/n0/b.jpg")
    with pytest.raises(ValueError, match=r"found the class folders n0 in .*/r, which the class names do not have"):
        read_wnid_folders("imagenet_r", tmp_path, "r", "classnames.txt")


def test_a_variant_that_no_list_has_is_told(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "variants.txt").write_text("707-320\nF/A-18\n")
    for part, line in (("train", "0000001 707-320\n\n"), ("val", "0000002 F/A-18\n"), ("test", "0000003 F-16\n")):
        (tmp_path / f"images_variant_{part}.txt").write_text(line)
    with pytest.raises(
        ValueError, match=r"images_variant_test\.txt, line 1: found '0000003 F-16', expected the number"
    ):
        read_fgvc("aircraft", tmp_path, "images", "variants.txt")
