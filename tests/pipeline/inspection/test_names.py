"""What a person names is found, or said to be unknown with what is near."""

import pytest

from fdbpl.pipeline.inspection.names import find_class, find_image, unknown

PATHS = ("red_circle/train_0001.jpg", "red_circle/train_0010.jpg", "blue_star/train_0001.jpg", "a.jpg", "b/a.jpg")


@pytest.mark.parametrize(
    ("asked", "number"), [("red_circle/train_0010.jpg", 1), ("circle/train_0001", 0), ("star", 2), ("a.jpg", 3)]
)
def test_an_image_is_found_by_its_path_or_by_a_part_of_it_alone(asked: str, number: int) -> None:
    assert find_image(PATHS, asked) == number


def test_a_part_of_several_paths_names_them() -> None:
    with pytest.raises(ValueError, match=r"found 2 whose path has 'red' \(red_circle/train_0001.jpg, red_circle"):
        find_image(PATHS, "red")


def test_an_unknown_image_is_told_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"image: found 'blue_star/train_0002.jpg', expected a path as in the store"):
        find_image(PATHS, "blue_star/train_0002.jpg")


def test_a_class_is_found_by_its_name_whatever_its_underscores() -> None:
    names = ("red circle", "blue_star", "Blue star")
    assert [find_class(names, asked) for asked in ("red_circle", "RED circle", "blue_star")] == [0, 0, 1]
    with pytest.raises(ValueError, match=r"class: found 'blue star', expected a class of the data set"):
        find_class(names, "blue star")  # two of them


def test_nearest_names_are_told_where_there_are_many() -> None:
    known = [f"coop-fdbpl-cached-seed{number}" for number in range(30)]
    assert "did you mean coop-fdbpl-cached-seed" in str(unknown("student", "coop-fdbpl-cachd-seed3", known))
    assert str(unknown("student", "x", known)).endswith(
        "there are 30, such as coop-fdbpl-cached-seed0, coop-fdbpl-cached-seed1, coop-fdbpl-cached-seed2"
    )
    assert str(unknown("names", "x", ["all", "base"])) == (
        "names: found 'x', expected one of those there are (all, base)"
    )
