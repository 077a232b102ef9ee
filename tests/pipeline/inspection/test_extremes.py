"""The most and the least informative crops are those of the whole store, and what they show is as their weights say."""

from pathlib import Path

import numpy as np
import pytest
import torch
from encoded_store import store_of

from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.datasets.scene_facts import crop_content, read_scenes
from fdbpl.pipeline.inspection.crops import Crop
from fdbpl.pipeline.inspection.extremes import extremes
from fdbpl.pipeline.inspection.opened import Opened, open_inspection
from fdbpl.pipeline.inspection.stream import Batch, Leading, batches


def test_batches_hold_every_crop_once_whatever_their_order(opened: Opened) -> None:
    images_M = np.array([3, 9, 50, 77, 120])
    expected = {(image, seed) for image in images_M.tolist() for seed in range(4)}
    for size, by_image in ((3, False), (4096, False), (1, True), (3, True), (9, True)):
        told: list[tuple[int, int]] = []
        got = list(batches(opened, images_M, lambda *now, told=told: told.append(now), size=size, by_image=by_image))
        pairs = [pair for one in got for pair in zip(one.images_B.tolist(), one.seeds_B.tolist(), strict=True)]
        assert len(pairs) == 20 and set(pairs) == expected
        assert max(len(one.images_B) for one in got) <= size
        assert told[-1] == (20, 20)
        if by_image:
            assert [image for image, _ in pairs] == np.repeat(images_M, 4).tolist()


def batch(images: list[int], seeds: list[int]) -> Batch:
    nothing = torch.zeros(len(images))
    return Batch(
        images_B=np.array(images),
        seeds_B=np.array(seeds),
        teacher_BC=nothing[:, None],
        weight_B=nothing,
        entropy_B=nothing,
    )


@pytest.mark.parametrize("most", [2, 4])
def test_those_in_front_are_the_same_in_whatever_order_they_come(most: int) -> None:
    """Equal ones too, where not all of them find room."""
    views = [(4, 0, 1.0), (1, 1, 3.0), (2, 0, 3.0), (1, 0, 3.0), (9, 2, 2.0)]
    for order in ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 0, 3, 4, 1]):
        leading = Leading(most)
        for image, seed, score in (views[at] for at in order):
            leading.add(torch.tensor([score]), batch([image], [seed]))
        found = zip(leading.images_K.tolist(), leading.seeds_K.tolist(), leading.scores_K.tolist(), strict=True)
        assert list(found) == [(1, 0, 3.0), (1, 1, 3.0), (2, 0, 3.0), (9, 2, 2.0)][:most]


@pytest.mark.parametrize(("per_image", "scores"), [(1, [9, 7, 5]), (2, [9, 8, 7]), (0, [9, 8, 7])])
def test_at_most_so_many_of_an_image_lead(per_image: int, scores: list[int]) -> None:
    """However they come: one that is pushed out never comes back, for whoever pushed it out stays better."""
    views = [(1, 0, 9.0), (1, 1, 8.0), (2, 0, 7.0), (2, 1, 6.5), (1, 2, 6.0), (3, 0, 5.0), (4, 0, 1.0)]
    for order in ([0, 1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1, 0], [3, 5, 1, 0, 6, 2, 4]):
        leading = Leading(3, per_image)
        for image, seed, score in (views[at] for at in order):
            leading.add(torch.tensor([score]), batch([image], [seed]))
        assert leading.scores_K.tolist() == scores


def test_only_what_is_chosen_of_a_batch_is_taken_in() -> None:
    leading = Leading(2)
    leading.add(torch.tensor([5.0, 4.0, 3.0]), batch([1, 2, 3], [0, 0, 0]), np.array([False, True, True]))
    assert leading.images_K.tolist() == [2, 3]


def test_extremes_are_those_of_all_weights(opened: Opened) -> None:
    images_M = opened.images()
    found = extremes(opened, images_M, limit=9, top=1)
    weights_NS = np.stack([one.weight_B.numpy() for one in batches(opened, images_M, size=len(images_M))], axis=1)
    ordered = np.sort(weights_NS.ravel())
    assert found.num_views == 512
    assert [crop.weight for crop in found.most] == pytest.approx(ordered[::-1][:9].tolist())
    assert [crop.weight for crop in found.least] == pytest.approx(ordered[:9].tolist())
    for crop in (*found.most, *found.least):
        assert crop.weight == pytest.approx(weights_NS[crop.image, crop.seed])


def test_extremes_of_a_class_are_of_that_class(opened: Opened) -> None:
    found = extremes(opened, opened.images("red_circle"), limit=20, top=1)
    assert found.num_views == len(found.most) == len(found.least) == 16
    assert {crop.class_name for crop in found.most} == {"red circle"}
    assert found.most == found.least[::-1]


def test_the_most_informative_crops_show_the_object_more_often(taught: RunConfig, shared: Path, tmp_path: Path) -> None:
    """The world knows what each crop shows, and the demo's teacher is asked by words that say what the images are."""
    words = taught.teacher.model_copy(update={"templates": ("a negative of a {}.",)})
    config = store_of(taught.model_copy(update={"teacher": words}), tmp_path, ("logits",), 1)
    scenes = read_scenes(shared / "world" / "scenes.json")

    def shown(crops: list[Crop]) -> float:
        return float(np.mean([crop_content(scenes[crop.path], crop.box).kind == "main" for crop in crops]))

    with open_inspection(config) as opened:
        found = extremes(opened, opened.images(), limit=20, top=1)
    assert shown(found.most) == 1.0 and shown(found.least) < 0.4
