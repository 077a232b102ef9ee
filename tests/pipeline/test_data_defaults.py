"""What a config's data section leaves open is filled in by the layout; what it says is kept."""

import re
from pathlib import Path
from typing import Any

import pytest

from fdbpl.pipeline.config import DataConfig
from fdbpl.pipeline.config_file import parse_config
from fdbpl.pipeline.data.defaults import with_defaults

PHOTO = "a photo of a {}."


def filled(**values: Any) -> tuple[str, str, str, str]:
    section = with_defaults(DataConfig(folder=Path("d"), **values))
    assert with_defaults(section) == section, "what is full stays as it is"
    return section.layout, section.images, section.split, section.template


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"name": "caltech101"}, ("caltech101", "101_ObjectCategories", "split_zhou_Caltech101.json", PHOTO)),
        ({"name": "stanford_cars"}, ("stanford_cars", ".", "split_zhou_StanfordCars.json", PHOTO)),
        ({"name": "dtd"}, ("dtd", "images", "split_zhou_DescribableTextures.json", "{} texture.")),
        ({"name": "imagenet"}, ("imagenet", "images", "classnames.txt", PHOTO)),
        (
            {"name": "dtd", "images": "shards/*.tar", "split": "mine.json", "template": "a {}"},
            ("dtd", "shards/*.tar", "mine.json", "a {}"),
        ),
        # A split file in place of the folders.
        ({"name": "imagenet", "split": "s.json"}, ("split_json", "images", "s.json", PHOTO)),
        (
            {"name": "fgvc_aircraft", "split": "s.json"},
            ("split_json", "images", "s.json", "a photo of a {}, a type of aircraft."),
        ),
        ({"name": "imagenet", "split": "names.txt"}, ("imagenet", "images", "names.txt", PHOTO)),
        # Data sets that only their owner knows.
        ({"name": "mine", "split": "s.json"}, ("split_json", "images", "s.json", PHOTO)),
        ({"name": "mine", "split": "s.json", "images": "."}, ("split_json", ".", "s.json", PHOTO)),
        ({"name": "mine"}, ("class_folders", ".", "", PHOTO)),
        # A known layout under another name.
        (
            {"name": "pets at home", "layout": "oxford_pets"},
            ("oxford_pets", "images", "split_zhou_OxfordPets.json", "a photo of a {}, a type of pet."),
        ),
        ({"name": "imagenet100", "layout": "imagenet"}, ("imagenet", "images", "classnames.txt", PHOTO)),
        # A known name in a layout that is not its own.
        ({"name": "food101", "layout": "class_folders"}, ("class_folders", ".", "", "a photo of {}, a type of food.")),
        (
            {"name": "ucf101", "layout": "split_json"},
            ("split_json", "UCF-101-midframes", "split_zhou_UCF101.json", "a photo of a person doing {}."),
        ),
    ],
)
def test_what_is_left_open_is_filled_in(values: dict[str, Any], expected: tuple[str, ...]) -> None:
    assert filled(**values) == expected


def config(**data: Any) -> dict[str, Any]:
    return {
        "folder": "run",
        "data": {"folder": "d", **data},
        "teacher": {"model": "ViT-L-14", "pretrained": "openai"},
    }


def test_a_config_is_full_once_it_is_read(tmp_path: Path) -> None:
    data = parse_config(config(name="eurosat", few_shot=""), base=tmp_path, where="test").data
    assert data.model_dump() == {
        "name": "eurosat",
        "folder": tmp_path / "d",
        "layout": "eurosat",
        "images": "2750",
        "split": "split_zhou_EuroSAT.json",
        "template": "a centered satellite photo of {}.",
        "few_shot": "",
        "digests": True,
        "bad_images": "error",
    }


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "x", "layout": "split_json"}, "test: data.split: found nothing, expected the split file"),
        ({"name": "imagenet", "layout": "split_json"}, "test: data.split: found nothing, expected the split file"),
        ({"name": "x", "layout": "class_folders", "split": "s.json"}, "data.split: found 's.json', expected none"),
        (
            {"name": "x", "layout": "imagnet"},
            "data.layout: found 'imagnet': unknown layout (did you mean 'imagenet'?), expected one of split_json",
        ),
        ({"name": "x", "few_shot": "shots"}, "data.few_shot: found 'shots': expected a file that ends in .pkl"),
        ({"name": "x", "few_shot": "{shot}.pkl"}, "expected no braces but {shots} and {seed}"),
    ],
)
def test_what_makes_no_sense_is_refused(values: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_config(config(**values), base=tmp_path, where="test")
