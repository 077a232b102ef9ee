"""`data check` names every part that is taken away, with where it is had from; sizes stand beside the known ones."""

import json
import shutil
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from trees import FOLDERS, MAKERS, Tree, fgvc_aircraft, imagenet_a, picture

from fdbpl.pipeline.config import DataConfig
from fdbpl.pipeline.data.check import DataCheck, check_data
from fdbpl.pipeline.datasets.catalog import KNOWN

Without = Callable[[Path], AbstractContextManager[None]]
Run = Callable[..., subprocess.CompletedProcess[str]]
COOP = "https://github.com/KaiyangZhou/CoOp/blob/main/DATASETS.md"
FILE = "there is no file"
# Data set, what is taken away, the part that is named, what is said of it.
CASES = [
    ("imagenet", "images", "image folder", "there is no folder"),
    ("imagenet", "images/train", "training images", "there is no folder"),
    ("imagenet", "images/val", "validation images", "there is no folder"),
    ("imagenet", "classnames.txt", "class names", FILE),
    ("imagenet", "images/val/n01440766", "content", "found no class folder n01440766 in"),
    ("imagenet", "images/train/n01440766/n01440766_2.JPEG", "train", "found 2,000, expected 1,281,167"),
    ("caltech101", "101_ObjectCategories", "image folder", "there is no folder"),
    ("caltech101", "split_zhou_Caltech101.json", "split file", FILE),
    ("caltech101", "101_ObjectCategories/Faces", "class folders", "1 missing or empty: Faces (4 images)"),
    (
        *("caltech101", "101_ObjectCategories/Faces/image_0002.jpg", "train images"),
        "1 of 200 images are not there: Faces/image_0002.jpg",
    ),
    ("oxford_pets", "images", "image folder", "there is no folder"),
    ("oxford_pets", "split_zhou_OxfordPets.json", "split file", FILE),
    ("oxford_pets", "images/Abyssinian_3.jpg", "val images", "1 of 37 images are not there: Abyssinian_3.jpg"),
    ("stanford_cars", "cars_test", "class folders", "1 missing or empty: cars_test (196 images)"),
    ("stanford_cars", "split_zhou_StanfordCars.json", "split file", FILE),
    ("stanford_cars", "cars_train/00011.jpg", "train images", "1 of 392 images are not there: cars_train/00011.jpg"),
    ("oxford_flowers", "jpg", "image folder", "there is no folder"),
    ("oxford_flowers", "split_zhou_OxfordFlowers.json", "split file", FILE),
    ("oxford_flowers", "jpg/image_00014.jpg", "test images", "1 of 102 images are not there: image_00014.jpg"),
    ("food101", "images", "image folder", "there is no folder"),
    ("food101", "split_zhou_Food101.json", "split file", FILE),
    ("food101", "images/apple_pie", "class folders", "1 missing or empty: apple_pie (4 images)"),
    ("fgvc_aircraft", "images", "image folder", "there is no folder"),
    ("fgvc_aircraft", "variants.txt", "class names", FILE),
    ("fgvc_aircraft", "images_variant_train.txt", "train list", FILE),
    ("fgvc_aircraft", "images_variant_val.txt", "val list", FILE),
    ("fgvc_aircraft", "images_variant_test.txt", "test list", FILE),
    ("fgvc_aircraft", "images/0034309.jpg", "train images", "1 of 200 images are not there: 0034309.jpg"),
    ("sun397", "SUN397", "image folder", "there is no folder"),
    ("sun397", "split_zhou_SUN397.json", "split file", FILE),
    ("sun397", "SUN397/a/apartment_building", "class folders", "empty: a/apartment_building/outdoor (4 images)"),
    ("dtd", "images", "image folder", "there is no folder"),
    ("dtd", "split_zhou_DescribableTextures.json", "split file", FILE),
    ("dtd", "images/banded", "class folders", "1 missing or empty: banded (4 images)"),
    ("eurosat", "2750", "image folder", "there is no folder"),
    ("eurosat", "split_zhou_EuroSAT.json", "split file", FILE),
    ("eurosat", "2750/River", "class folders", "1 missing or empty: River (4 images)"),
    ("ucf101", "UCF-101-midframes", "image folder", "there is no folder"),
    ("ucf101", "split_zhou_UCF101.json", "split file", FILE),
    ("ucf101", "UCF-101-midframes/Y_M_C_A", "class folders", "1 missing or empty: Y_M_C_A (4 images)"),
    ("imagenetv2", "imagenetv2-matched-frequency-format-val", "image folder", "there is no folder"),
    ("imagenetv2", "classnames.txt", "class names", FILE),
    ("imagenetv2", "imagenetv2-matched-frequency-format-val/7", "content", "found no class folder 7 (kind 2) in"),
    ("imagenet_sketch", "images", "image folder", "there is no folder"),
    ("imagenet_sketch", "classnames.txt", "class names", FILE),
    ("imagenet_sketch", "images/n01440764", "classes", "found 999, expected 1,000"),
    ("imagenet_a", "imagenet-a", "image folder", "there is no folder"),
    ("imagenet_a", "classnames.txt", "class names", FILE),
    ("imagenet_a", "imagenet-a/n01440764/0.000_tench.jpg", "content", "1 class folders without an image in"),
    ("imagenet_r", "imagenet-r", "image folder", "there is no folder"),
    ("imagenet_r", "classnames.txt", "class names", FILE),
    ("imagenet_r", "imagenet-r/n01440764", "classes", "found 199, expected 200"),
    *((name, "", "folder", "there is no folder") for name in MAKERS),
]


def check(trees: Path, name: str) -> DataCheck:
    return check_data(DataConfig(name=name, folder=trees / FOLDERS.get(name, name)))


@pytest.mark.parametrize(("name", "gone", "part", "problem"), CASES)
def test_what_is_taken_away_is_named(
    name: str, gone: str, part: str, problem: str, trees: Path, without: Without
) -> None:
    place = trees / FOLDERS.get(name, name) / gone
    with without(place):
        found = {finding.part: finding for finding in check(trees, name).findings}
    assert problem in found[part].problem
    assert found[part].source
    if problem.startswith("there is no"):
        assert list(found) == [part], "of what is within a missing part nothing is said"
        assert found[part].problem == f"{problem} {place}".rstrip("/")
    if part == "split file" or (part == "class names" and name != "fgvc_aircraft"):
        assert found[part].source == f"{COOP}: {place.name}"
    else:
        assert found[part].source == KNOWN[name].source


def test_nothing_else_is_wrong_with_the_small_trees_than_their_sizes(trees: Path) -> None:
    sizes = {"classes", "train", "val", "test", "test, base", "test, new"}
    for name in MAKERS:
        found = check(trees, name)
        assert {finding.part for finding in found.findings} <= sizes - {"classes"}, name
        assert found.counts["classes"].found == found.counts["classes"].expected == KNOWN[name].num_classes


def test_base_and_new_are_counted_apart(trees: Path) -> None:
    counts = check(trees, "oxford_pets").counts
    assert {what: (count.found, count.expected) for what, count in counts.items()} == {
        "classes": (37, 37),
        "train": (74, 2944),
        "val": (37, 736),
        "test": (37, 3669),
        "test, base": (19, 1881),
        "test, new": (18, 1788),
    }


def test_files_that_are_no_images_are_told(trees: Path) -> None:
    assert check(trees, "imagenet").left_out == ("train/n01440764/README.txt",)
    assert check(trees, "imagenet_a").left_out == ()


def test_a_split_file_that_no_one_can_read_is_told(trees: Path, tmp_path: Path) -> None:
    shutil.copytree(trees / "dtd", tmp_path / "dtd")
    (tmp_path / "dtd" / "split_zhou_DescribableTextures.json").write_text("{")
    (finding,) = check(tmp_path, "dtd").findings
    assert finding.part == "content"
    assert "is not JSON" in finding.problem


def test_sets_of_full_size_are_complete(tmp_path: Path, call: Run) -> None:
    one = picture(tmp_path / "picture.jpg")
    fgvc_aircraft(Tree(tmp_path / "fgvc_aircraft", one), counts=(3334, 3333, 3333))
    imagenet_a(Tree(tmp_path / "imagenet-adversarial", one), count=7500)
    for name, folder in (("fgvc_aircraft", "fgvc_aircraft"), ("imagenet_a", "imagenet-adversarial")):
        answer = call("data", "check", name, folder, "--json")
        assert answer.returncode == 0, answer.stdout
        result = json.loads(answer.stdout)
        assert result["complete"]
        assert result["data_sets"][0]["findings"] == []
    counts = json.loads(call("data", "check", "fgvc_aircraft", "fgvc_aircraft", "--json").stdout)["data_sets"][0][
        "counts"
    ]
    assert counts["test, base"] == {"found": 1666, "expected": 1666}


def test_all_is_a_table_over_the_fifteen(trees: Path, call: Run, without: Without) -> None:
    with without(trees / "ucf101" / "split_zhou_UCF101.json"):
        answer = call("data", "check", "all", str(trees), "--json")
        shown = call("data", "check", "all", str(trees), COLUMNS="200")
    assert answer.returncode == shown.returncode == 1
    result = json.loads(answer.stdout)
    assert [one["name"] for one in result["data_sets"]] == list(KNOWN)
    assert not result["complete"]
    (ucf101,) = (one for one in result["data_sets"] if one["name"] == "ucf101")
    assert ucf101["counts"]["train"] == {"found": None, "expected": 7639}
    for words in ("2,001/1,281,167", "ucf101", "-/7,639", "split file", f"usually from {COOP}: split_zhou_UCF101.json"):
        assert words in shown.stdout


def test_the_data_set_of_a_config_is_checked_with_its_subsets(
    trees: Path, tmp_path: Path, call: Run, read_section: Callable[..., Any]
) -> None:
    lines = ['name = "eurosat"', f'folder = "{trees / "eurosat"}"']
    read_section(*lines, 'few_shot = "split_fewshot/shot_{shots}-seed_{seed}.pkl"')
    student = '[[student]]\nmodel = "ViT-B-32"\npretrained = "openai"\nseeds = [1]\nshots = 2\n'
    (tmp_path / "run.toml").write_text((tmp_path / "run.toml").read_text() + "\n" + student)
    answer = call("data", "check", "run.toml", "--json")
    assert answer.returncode == 1
    findings = json.loads(answer.stdout)["data_sets"][0]["findings"]
    parts = {finding["part"] for finding in findings}
    assert parts == {"train", "val", "test", "test, base", "test, new", "few-shot subset"}
    (trees / "eurosat" / "2750").rename(trees / "eurosat" / ".2750")
    try:
        findings = json.loads(call("data", "check", "run.toml", "--json").stdout)["data_sets"][0]["findings"]
    finally:
        (trees / "eurosat" / ".2750").rename(trees / "eurosat" / "2750")
    assert [finding["part"] for finding in findings] == ["image folder"]


def test_the_targets_of_a_config_are_checked_too(
    trees: Path, tmp_path: Path, call: Run, read_section: Callable[..., Any]
) -> None:
    read_section('name = "eurosat"', f'folder = "{trees / "eurosat"}"')
    target = f'[evaluate]\n[[evaluate.targets]]\nname = "imagenet_r"\nfolder = "{tmp_path}"\n'
    (tmp_path / "run.toml").write_text((tmp_path / "run.toml").read_text() + "\n" + target)
    first, second = json.loads(call("data", "check", "run.toml", "--json").stdout)["data_sets"]
    assert (first["name"], second["name"]) == ("eurosat", "imagenet_r")
    assert [finding["part"] for finding in second["findings"]] == ["image folder", "class names"]


def test_a_subset_that_does_not_fit_is_found(tmp_path: Path, call: Run, read_section: Callable[..., Any]) -> None:
    one = picture(tmp_path / "picture.jpg")
    for name in ("cat", "dog"):
        for number in range(4):
            Tree(tmp_path / "mine", one).image(f"{name}/{number}.jpg")
    read_section('name = "mine"', 'folder = "mine"', 'few_shot = "few/{shots}.json"')
    assert call("data", "check", "run.toml").returncode == 0
    student = '[[student]]\nmodel = "ViT-B-32"\npretrained = "openai"\nseeds = [1, 2]\nshots = 2\n'
    (tmp_path / "run.toml").write_text((tmp_path / "run.toml").read_text() + "\n" + student)
    answer = call("data", "check", "run.toml", "--json")
    assert answer.returncode == 1
    (finding,) = json.loads(answer.stdout)["data_sets"][0]["findings"]
    assert finding["part"] == "few-shot subset"
    assert f"the few-shot subset {tmp_path}/mine/few/2.json cannot be read: No such file" in finding["problem"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("imagnet", "."), "found the unknown key 'imagnet' (did you mean 'imagenet'?)"),
        (("imagenet",), "found the data set imagenet without its folder"),
        (("nothing.toml",), "found no config file nothing.toml, expected one, or a name and a folder"),
    ],
)
def test_wrong_names_are_refused(arguments: tuple[str, ...], message: str, call: Run) -> None:
    answer = call("data", "check", *arguments)
    assert answer.returncode == 2
    assert message in answer.stderr


def test_the_catalogue_is_shown(call: Run) -> None:
    result = json.loads(call("data", "known", "--json").stdout)["data_sets"]
    assert len(result) == 15
    assert result[7] == result[7] | {"name": "sun397", "folder": "sun397", "images": "SUN397", "num_classes": 397}
    shown = call("data", "known").stdout
    assert all(one["name"] in shown for one in result)
