"""The public few-shot rule, the halves, and the splits that are cut by them."""

import random
from pathlib import Path

import pytest

from fdbpl.pipeline.datasets.data_set import DataSet, Split
from fdbpl.pipeline.datasets.few_shot import base_and_new, few_shot

LABELS = [2, 0, 2, 1, 0, 1, 2, 0, 1, 2, 0, 1]


def test_the_choice_of_a_seed_never_changes() -> None:
    assert few_shot(LABELS, 2, seed=1).tolist() == [2, 6, 1, 4, 3, 5]
    assert few_shot(LABELS, 2, seed=2).tolist() == [0, 9, 1, 4, 5, 8]


def test_the_choice_is_that_of_the_global_generator_seeded_once() -> None:
    labels = [index % 7 for index in range(140)][::-1]
    random.seed(3)
    expected = []
    for label in [6, 5, 4, 3, 2, 1, 0]:  # the order of first appearance
        expected += random.sample([index for index, found in enumerate(labels) if found == label], 16)
    assert few_shot(labels, 16, seed=3).tolist() == expected


def test_the_global_generator_is_left_alone() -> None:
    random.seed(5)
    expected = random.random()
    random.seed(5)
    few_shot(LABELS, 2, seed=1)
    assert random.random() == expected


def test_classes_come_in_order_of_first_appearance() -> None:
    assert [LABELS[index] for index in few_shot(LABELS, 3, seed=9)] == [2, 2, 2, 0, 0, 0, 1, 1, 1]


def test_too_few_images_are_refused_by_class() -> None:
    with pytest.raises(ValueError, match=r"3 shots need 3 images of each class; 1 classes have fewer: class 4 has 2"):
        few_shot([4, 1, 1, 4, 1], 3, seed=1)


def test_no_shots_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1; found 0"):
        few_shot(LABELS, 0, seed=1)


@pytest.mark.parametrize(
    ("num_classes", "base", "new"),
    [(2, range(1), range(1, 2)), (37, range(19), range(19, 37)), (100, range(50), range(50, 100))],
)
def test_base_has_the_odd_class(num_classes: int, base: range, new: range) -> None:
    assert base_and_new(num_classes) == (base, new)


def test_one_class_has_no_halves() -> None:
    with pytest.raises(ValueError, match="at least 2 classes; found 1"):
        base_and_new(1)


@pytest.mark.parametrize("path", ["", "/etc/a.jpg", "a/../../b.jpg"])
def test_paths_stay_below_the_root(path: str) -> None:
    with pytest.raises(ValueError, match="image 1: found the path"):
        Split(paths=("good.jpg", path), labels=(0, 0))


def test_a_split_has_a_label_for_each_path() -> None:
    with pytest.raises(ValueError, match="found 2 paths, 1 labels"):
        Split(paths=("a", "b"), labels=(0,))


def test_a_data_set_checks_its_names_and_labels() -> None:
    some, none = Split(paths=("a",), labels=(1,)), Split(paths=(), labels=())

    def made(*class_names: str) -> DataSet:
        return DataSet(name="pets", root=Path(), class_names=class_names, train=none, val=none, test=some)

    assert made("cat", "dog").test.labels == (1,)
    with pytest.raises(ValueError, match="pets: the class name 'cat' is there twice, as labels 0 and 2"):
        made("cat", "dog", "cat")
    with pytest.raises(ValueError, match=r"pets: label 1 of a \(test\) is not one of 1 classes"):
        made("cat")
