"""A store opened to be looked into: which names, which images, of which class."""

from pathlib import Path

import numpy as np
import pytest
from encoded_store import store_of

from fdbpl.cache_layout.class_list import ClassList
from fdbpl.cache_layout.errors import CacheError, UnsealedStore
from fdbpl.cache_layout.grow import add_class_list
from fdbpl.cache_layout.store import open_store
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.inspection.extremes import image_crops
from fdbpl.pipeline.inspection.opened import Opened, open_inspection
from fdbpl.pipeline.labels.teach import prepare_store


def test_the_class_of_each_image_is_that_of_its_folder(opened: Opened) -> None:
    paths = opened.reader.images.paths
    assert len(paths) == 128
    assert all(opened.class_of(number) == path.partition("/")[0].replace("_", " ") for number, path in enumerate(paths))


def test_images_of_a_class_of_a_half_and_drawn_ones(taught: RunConfig, opened: Opened) -> None:
    name = opened.image_classes[20]
    of_class = opened.images(name)
    assert [opened.class_of(number) for number in of_class.tolist()] == [name] * 4
    drawn = opened.images(most=10, seed=3)
    assert len(drawn) == 10 and np.array_equal(drawn, opened.images(most=10, seed=3))
    assert not np.array_equal(drawn, opened.images(most=10, seed=4))
    with open_inspection(taught, "new") as half:
        assert half.class_names == opened.class_names[16:]
        assert {half.class_of(number) for number in half.images().tolist()} == set(half.class_names)
        assert half.own_places(of_class).tolist() == [4] * 4
        assert set(half.own_places(opened.images(opened.image_classes[0])).tolist()) == {-1}


def test_names_are_asked_of_any_class_list_of_the_store(taught: RunConfig, tmp_path: Path) -> None:
    config = store_of(taught, tmp_path, ("embedding",), 1)
    with open_inspection(config) as opened:
        own = opened.reader.class_list("all")
        rows = [7, 3, 11]
        some = ClassList(
            name="three",
            class_names=tuple(own.class_names[row] for row in rows),
            templates=("a drawing of a {}.",),
            text_embedding_CD=own.text_embedding_CD[rows],
        )
        (expected, *_) = image_crops(opened, 0, top=32)
    add_class_list(open_store(config.store.path), some)
    with open_inspection(config, "three") as opened:
        assert opened.class_names == some.class_names
        (found,) = [crop for crop in image_crops(opened, 0, top=3) if crop.seed == expected.seed]
    whole = dict(expected.teacher)
    total = sum(whole[name] for name in some.class_names)
    assert dict(found.teacher) == pytest.approx({name: whole[name] / total for name in some.class_names}, rel=1e-3)


def test_unknown_names_and_classes_are_refused(taught: RunConfig, opened: Opened) -> None:
    with (
        pytest.raises(ValueError, match=r"class names: found 'bse', .*did you mean base, all, new"),
        open_inspection(taught, "bse"),
    ):
        pass
    with pytest.raises(ValueError, match=r"class: found 'rde circle', .*did you mean .*red circle"):
        opened.images("rde circle")


def test_a_store_that_is_not_sealed_is_refused(taught: RunConfig, tmp_path: Path) -> None:
    changes = {"store": taught.store.model_copy(update={"path": tmp_path / "store.zarr"})}
    config = taught.model_copy(update=changes)
    with pytest.raises(CacheError, match=r"store\.zarr"), open_inspection(config):
        pass
    prepare_store(config)
    with pytest.raises(UnsealedStore, match="is not sealed"), open_inspection(config):
        pass
