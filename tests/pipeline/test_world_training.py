"""Training of the tiny CLIPs: batches, loss, a few steps, and going on after a kill."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import load_file

from fdbpl.pipeline.clip.tiny import register_tiny_models
from fdbpl.pipeline.clip.world_accuracy import measure_clip
from fdbpl.pipeline.clip.world_batches import contrastive_loss, make_batch, told_facts
from fdbpl.pipeline.clip.world_images import CaptionedImages, central_square, random_box, render_images
from fdbpl.pipeline.clip.world_recipes import RECIPES, ClipRecipe, learning_rate
from fdbpl.pipeline.clip.world_training import TrainedClip, train_clip
from fdbpl.pipeline.datasets.synthetic import SceneSpec

SHORT = replace(RECIPES["student"], num_images=256, steps=24, batch_size=48, warmup_steps=4)


@pytest.fixture(scope="module")
def images() -> CaptionedImages:
    return render_images(256, seed=0, spec=SceneSpec())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TrainedClip:
    return train_clip("student", folder=tmp_path_factory.mktemp("clip"), recipe=SHORT, measured_images_per_pair=1)


class _KilledError(Exception):
    pass


def test_a_killed_training_goes_on_and_ends_with_the_same_weights(trained: TrainedClip, tmp_path: Path) -> None:
    steps: list[int] = []

    def die_at_10(done: int, total: int) -> None:
        assert total == 24
        steps.append(done)
        if done == 10 and steps.count(10) == 1:
            raise _KilledError

    def train() -> TrainedClip:
        return train_clip(
            "student",
            folder=tmp_path,
            recipe=SHORT,
            steps_between_saves=8,
            measured_images_per_pair=0,
            on_progress=die_at_10,
        )

    with pytest.raises(_KilledError):
        train()
    resumed = train()
    assert steps == [*range(1, 11), *range(9, 25)]
    expected, found = load_file(trained.checkpoint), load_file(resumed.checkpoint)
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        assert torch.equal(tensor, found[name]), name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["student.json", "student.safetensors"]


def test_a_few_steps_lower_the_loss(images: CaptionedImages, trained: TrainedClip) -> None:
    start = train_clip(
        "student",
        folder=trained.checkpoint.parent / "one",
        recipe=replace(SHORT, steps=1),
        measured_images_per_pair=0,
    )
    assert trained.record["loss"] < start.record["loss"]


def test_a_finished_training_is_returned_as_it_is(trained: TrainedClip) -> None:
    calls: list[int] = []
    again = train_clip(
        "student",
        folder=trained.checkpoint.parent,
        recipe=SHORT,
        on_progress=lambda done, total: calls.append(done),
    )
    assert calls == []
    assert again.record == json.loads(json.dumps(dict(trained.record)))


def test_the_record_tells_how_it_was_made(trained: TrainedClip) -> None:
    record = trained.record
    assert (record["role"], record["seed"], record["num_threads"]) == ("student", 0, 1)
    assert record["recipe"]["steps"] == 24
    assert record["recipe"]["scenes"]["noise_sd"] == 8.0
    assert record["versions"]["torch"] == torch.__version__
    assert set(record["accuracy"]["zero_shot"]["negative"]["base"]) == {
        "a photo of a {}",
        "a negative of a {}",
        "a picture of a {}",
    }


def test_another_recipe_or_seed_in_the_folder_is_refused(trained: TrainedClip) -> None:
    with pytest.raises(ValueError, match="seed: found 0, expected 1"):
        train_clip("student", folder=trained.checkpoint.parent, recipe=SHORT, seed=1)
    with pytest.raises(ValueError, match="found the role 'tutor', expected one of teacher, student"):
        train_clip("tutor", folder=trained.checkpoint.parent)


def test_the_checkpoint_is_an_ordinary_one(trained: TrainedClip) -> None:
    register_tiny_models()
    model = open_clip.create_model("fdbpl-tiny-student", pretrained=str(trained.checkpoint))
    table_VD = model.token_embedding.weight
    assert tuple(table_VD.shape) == (49408, 64)
    assert int((table_VD.abs().amax(dim=1) > 0).sum()) == 38
    assert 0 < float(model.logit_scale.detach()) <= math.log(100) + 1e-6


def test_a_batch_is_a_function_of_seed_and_step(images: CaptionedImages) -> None:
    told = told_facts(images, seed=0, wrong_word_fraction=0.0)
    first, again, other = (make_batch(images, told, recipe=SHORT, seed=0, step=step, size=48) for step in (3, 3, 4))
    assert torch.equal(first.pixels_BCHW, again.pixels_BCHW)
    assert first.captions == again.captions
    assert not torch.equal(first.pixels_BCHW, other.pixels_BCHW)
    assert first.pixels_BCHW.shape == (48, 3, 48, 48)


def test_a_batch_names_each_caption_once_and_only_generic_or_only_styles(images: CaptionedImages) -> None:
    told = told_facts(images, seed=0, wrong_word_fraction=0.0)
    kinds = set()
    for step in range(12):
        batch = make_batch(images, told, recipe=SHORT, seed=0, step=step, size=8)
        assert len(set(batch.captions)) == len(batch.captions)
        assert set(batch.caption_of_B.tolist()) == set(range(len(batch.captions)))
        kinds.add(frozenset(caption.split()[1] for caption in batch.captions))
        assert len({caption.endswith(".") for caption in batch.captions}) == 1
    assert kinds == {frozenset({"picture"}), frozenset({"photo", "negative"})}


def test_wrong_words_are_as_frequent_as_asked(images: CaptionedImages) -> None:
    facts = np.tile(images.facts_N3, (20, 1))
    many = CaptionedImages(files=images.files * 20, facts_N3=facts)
    told = told_facts(many, seed=0, wrong_word_fraction=0.1)
    assert (told[:, 0] != facts[:, 0]).mean() == pytest.approx(0.1, abs=0.015)
    assert (told[:, 1] != facts[:, 1]).mean() == pytest.approx(0.1, abs=0.015)
    assert np.array_equal(told[:, 2], facts[:, 2])
    assert np.array_equal(told_facts(many, seed=0, wrong_word_fraction=0.0), facts)


def test_contrastive_loss() -> None:
    # Views 0 and 1 share caption 0. Rows: log(1 + e^-2) thrice; columns: caption 0 spreads its target over two
    # views of logit 2 against one of 0; caption 1 has the one view of logit 2 against two of 0.
    logits_BC = torch.tensor([[2.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
    expected_rows = math.log(1 + math.exp(-2))
    expected_columns = (math.log(2 + math.exp(-2)) + math.log(1 + 2 * math.exp(-2))) / 2
    loss = contrastive_loss(logits_BC, torch.tensor([0, 0, 1]))
    assert float(loss) == pytest.approx((expected_rows + expected_columns) / 2, rel=1e-6)


def test_learning_rate_warms_up_and_falls_to_zero() -> None:
    recipe = ClipRecipe(model="m", num_images=1, steps=100, warmup_steps=20, learning_rate=1.0)
    assert learning_rate(recipe, 0) == pytest.approx(0.05)
    assert learning_rate(recipe, 19) == 1.0
    assert learning_rate(recipe, 60) == pytest.approx(0.5)
    assert learning_rate(recipe, 99) == pytest.approx(0.0003855, abs=1e-6)


def test_windows() -> None:
    assert central_square(101, 60) == (20, 0, 80, 60)
    generator = np.random.Generator(np.random.Philox(key=[0, 0]))
    areas = []
    for _ in range(400):
        left, top, right, bottom = random_box(generator, 90, 60, (0.08, 1.0))
        assert 0 <= left < right <= 90 and 0 <= top < bottom <= 60
        areas.append((right - left) * (bottom - top) / 5400)
    assert 0.06 < min(areas) < 0.15 and 0.8 < max(areas) <= 1.0


def test_training_images_hold_all_pairs_in_both_styles(images: CaptionedImages) -> None:
    assert len({tuple(facts) for facts in images.facts_N3}) == 128
    (only,) = {style for *_, style in render_images(130, seed=0, spec=SceneSpec(), styles=("negative",)).facts_N3}
    assert only == 1


def test_an_untrained_model_is_at_chance(trained: TrainedClip) -> None:
    measured = measure_clip("fdbpl-tiny-student", trained.checkpoint, images_per_pair=2)
    assert measured["zero_shot"]["photo"]["all"]["a photo of a {}"] < 20


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"steps": 0}, "steps: expected 1 or more, found 0"),
        ({"whole_fraction": 1.5}, "whole_fraction: expected 0..1, found 1.5"),
        ({"crop_scale": (0.0, 1.0)}, "crop_scale"),
    ],
)
def test_a_bad_recipe_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SHORT, **fields)  # type: ignore[arg-type]  # wrong on purpose
