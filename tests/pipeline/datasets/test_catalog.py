"""The catalogue's facts agree with each other."""

from fdbpl.pipeline.datasets.catalog import KNOWN, LAYOUTS
from fdbpl.pipeline.datasets.layouts import READERS

# Images in all of each data set, as its own page counts them; those that a split file leaves out are not in it.
TOTALS = {
    "caltech101": 8242,
    "oxford_pets": 7349,
    "stanford_cars": 16_185,
    "oxford_flowers": 8189,
    "food101": 101_000,
    "fgvc_aircraft": 10_000,
    "sun397": 39_700,
    "dtd": 5640,
    "eurosat": 27_000,
    "ucf101": 13_320,
}


def test_sizes_add_up() -> None:
    for name, total in TOTALS.items():
        known = KNOWN[name]
        assert known.num_train + known.num_val + known.num_test == total, name


def test_there_are_eleven_data_sets_and_four_test_sets() -> None:
    assert [name for name, known in KNOWN.items() if not known.num_train] == [
        "imagenetv2",
        "imagenet_sketch",
        "imagenet_a",
        "imagenet_r",
    ]
    assert len(KNOWN) == 15
    assert len({known.folder for known in KNOWN.values()}) == 15
    assert LAYOUTS[:3] == ("split_json", "class_folders", "imagenet")


def test_each_has_a_reader_and_a_template_with_one_place() -> None:
    for known in KNOWN.values():
        assert known.reader in READERS
        assert known.template.count("{}") == 1
        assert known.source
        assert (known.num_base_test is None) == (not known.num_train)
