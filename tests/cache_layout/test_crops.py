"""Crop windows: golden values, a slow reference, and the properties that replay rests on."""

from __future__ import annotations

import hashlib
import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdbpl.cache_layout.crops import CropPolicy, crop_boxes
from fdbpl.cache_layout.philox import philox4x32

# Literal windows: they must never change, or stores written earlier could not be made again.
GOLDEN = [
    (CropPolicy(), "n01440764/a.jpg", (375, 500), 0, (28, 21, 268, 295), False),
    (CropPolicy(), "n01440764/a.jpg", (375, 500), 1, (85, 186, 190, 231), True),
    (CropPolicy(), "cat/schöne Katze.jpg", (2592, 1944), 7, (721, 901, 1080, 857), True),
    (CropPolicy(scale=(0.5, 1.0)), "b.png", (64, 48), 2**40 + 3, (3, 0, 44, 45), False),
    (CropPolicy(ratio=(1.0, 1.0)), "b.png", (64, 48), 5, (1, 13, 34, 34), False),
]

# What str.isprintable allows.
paths = st.text(st.characters(exclude_categories=("C", "Z"), include_characters=" "), min_size=1, max_size=12)
sizes = st.tuples(st.integers(1, 5000), st.integers(1, 5000)) | st.tuples(st.integers(1, 3), st.integers(1, 100_000))
policies = st.builds(
    lambda low, high, ratio, widen, flip: CropPolicy(
        scale=(min(low, high), max(low, high)), ratio=(ratio, ratio * widen), flip_probability=flip
    ),
    st.floats(0.001, 1.0),
    st.floats(0.001, 1.0),
    st.floats(0.05, 5.0),
    st.floats(1.0, 8.0),
    st.floats(0, 1),
)


@pytest.mark.parametrize(("policy", "path", "size", "seed", "box", "flip"), GOLDEN)
def test_golden_windows(policy, path, size, seed, box, flip):
    boxes, flips = crop_boxes(policy, [path], [size], [seed])
    assert (boxes.dtype, flips.dtype) == (np.int32, np.bool_)
    assert (boxes.tolist(), flips.tolist()) == ([list(box)], [flip])


def slow_window(policy: CropPolicy, path: str, size: tuple[int, int], seed: int):
    """The same window from whole numbers and `math`, one view at a time."""
    height, width = size
    key = np.frombuffer(hashlib.blake2b(path.encode(), digest_size=8).digest(), "<u4").astype(np.uint32)

    def draw(attempt: int, purpose: int) -> list[int]:
        counter = np.array([[seed % 2**32, seed >> 32, attempt, purpose]], np.uint32)
        return philox4x32(counter, key[None])[0].tolist()

    flip = draw(0, 1)[0] / 2**32 < policy.flip_probability
    for attempt in range(10):
        words = draw(attempt, 0)
        area = height * width * (policy.scale[0] + (policy.scale[1] - policy.scale[0]) * (words[0] / 2**32))
        low, high = map(math.log, policy.ratio)
        ratio = math.exp(low + (high - low) * (words[1] / 2**32))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            top, left = words[2] * (height - h + 1) >> 32, words[3] * (width - w + 1) >> 32
            return [top, left, h, w], flip
    low, high = policy.ratio
    h = min(height, max(1, round(width / low))) if width / height < low else height
    w = min(width, max(1, round(height * high))) if width / height > high else width
    return [(height - h) // 2, (width - w) // 2, h, w], flip


@settings(max_examples=300, deadline=None)
@given(policies, paths, sizes, st.integers(0, 2**63 - 1))
def test_equals_the_slow_reference_and_lies_inside(policy, path, size, seed):
    boxes, flips = crop_boxes(policy, [path], [size], [seed])
    top, left, height, width = boxes[0].tolist()
    assert top >= 0 and left >= 0 and height >= 1 and width >= 1
    assert top + height <= size[0] and left + width <= size[1]
    assert (boxes[0].tolist(), bool(flips[0])) == slow_window(policy, path, size, seed)


@settings(max_examples=50, deadline=None)
@given(policies, st.lists(st.tuples(paths, sizes, st.integers(0, 99)), min_size=1, max_size=20), st.randoms())
def test_independent_of_order_and_company(policy, views, shuffler):
    boxes, flips = crop_boxes(policy, *zip(*views, strict=True))
    order = list(range(len(views)))
    shuffler.shuffle(order)
    subset = order[: len(order) // 2 + 1]
    again, flips_again = crop_boxes(policy, *zip(*(views[number] for number in subset), strict=True))
    assert again.tolist() == boxes[subset].tolist()
    assert flips_again.tolist() == flips[subset].tolist()


def test_the_policy_size_does_not_move_windows():
    views = (["a.jpg"] * 50, [(300, 200)] * 50, range(50))
    assert crop_boxes(CropPolicy(size=32), *views)[0].tolist() == crop_boxes(CropPolicy(), *views)[0].tolist()


def test_distribution():
    count = 40_000
    names = [f"{number // 100}.jpg" for number in range(count)]
    seeds = np.arange(count) % 100
    policy = CropPolicy(scale=(0.2, 0.6), flip_probability=0.25)
    boxes, flips = crop_boxes(policy, names, np.tile([[1000, 1000]], (count, 1)), seeds)
    top, left, height, width = boxes.T / 1000
    assert np.mean(height * width) == pytest.approx(0.4, abs=0.003)
    assert np.mean(np.log(width / height)) == pytest.approx(0.0, abs=0.005)
    assert np.std(np.log(width / height)) == pytest.approx(math.log(4 / 3) / math.sqrt(3), abs=0.005)
    assert np.mean(top / (1 - height)) == pytest.approx(0.5, abs=0.006)
    assert np.mean(left / (1 - width)) == pytest.approx(0.5, abs=0.006)
    assert np.mean(flips) == pytest.approx(0.25, abs=0.008)
    assert abs(np.corrcoef(flips, height * width)[0, 1]) < 0.02
    assert len({tuple(box) for box in boxes.tolist()}) > 0.99 * count


@pytest.mark.parametrize(
    ("size", "box"),
    [
        ((1, 1), [0, 0, 1, 1]),
        ((10, 1000), [0, 493, 10, 13]),
        ((1000, 10), [493, 0, 13, 10]),
        ((1, 100_000), [0, 49_999, 1, 1]),
    ],
)
def test_images_that_no_draw_fits_get_the_central_window(size, box):
    assert crop_boxes(CropPolicy(), ["thin.jpg"], [size], [0])[0].tolist() == [box]


@pytest.mark.parametrize(("probability", "expected"), [(0.0, 0), (1.0, 200)])
def test_flips_never_and_always(probability, expected):
    policy = CropPolicy(flip_probability=probability)
    flips = crop_boxes(policy, ["a.jpg"] * 200, [(50, 50)] * 200, range(200))[1]
    assert flips.sum() == expected


def test_no_view():
    boxes, flips = crop_boxes(CropPolicy(), [], np.zeros((0, 2), int), [])
    assert (boxes.shape, flips.shape) == ((0, 4), (0,))


@pytest.mark.parametrize(
    ("sizes_B2", "seeds_B", "message"),
    [
        ([(5, 5)], [0, 1], "found sizes"),
        ([(5, 0)], [0], r"size of a.jpg: found \[5, 0\]"),
        ([(5, 5)], [-1], "seeds: found -1"),
        ([(5.5, 5)], [0], "expected integers"),
    ],
)
def test_bad_views_are_refused(sizes_B2, seeds_B, message):
    with pytest.raises(ValueError, match=message):
        crop_boxes(CropPolicy(), ["a.jpg"], sizes_B2, seeds_B)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"size": 0}, "crop size: found 0"),
        ({"size": True}, "crop size"),
        ({"scale": (0.0, 1.0)}, "crop scale"),
        ({"scale": (0.5, 0.2)}, "crop scale"),
        ({"scale": (0.5, 1.5)}, "crop scale"),
        ({"ratio": (0.0, 1.0)}, "crop ratio"),
        ({"ratio": (2.0, 1.0)}, "crop ratio"),
        ({"ratio": (1.0, math.inf)}, "crop ratio"),
        ({"flip_probability": 1.5}, "flip_probability"),
        ({"flip_probability": math.nan}, "flip_probability"),
    ],
)
def test_bad_policies_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        CropPolicy(**fields)


def test_policy_as_json():
    policy = CropPolicy(size=64, scale=(0.1, 0.9), flip_probability=0.0)
    fields = policy.to_json()
    assert fields == {
        "algorithm": "random-resized-crop/philox4x32-10/1",
        "size": 64,
        "scale": [0.1, 0.9],
        "ratio": [0.75, 4 / 3],
        "flip_probability": 0.0,
    }
    assert CropPolicy.from_json(fields) == policy == pickle.loads(pickle.dumps(policy))
    with pytest.raises(ValueError, match="unknown fields"):
        CropPolicy.from_json({**fields, "scales": 1})
    with pytest.raises(ValueError, match="crop algorithm: found 'other'"):
        CropPolicy.from_json({**fields, "algorithm": "other"})
