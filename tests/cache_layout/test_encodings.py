"""What is decoded against exact arithmetic on what was encoded. Each bound is tested from both sides: nothing is off
by more, and something is off by more than a tenth of it (so that a bound ten times as tight fails, and so does an
encoding that is not the one the bound is of)."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdbpl.cache_layout.encodings import (
    LOWEST,
    decode_embedding,
    decode_logits,
    decode_topk,
    encode_embedding,
    encode_logits,
    encode_topk,
    label_arrays,
)
from fdbpl.cache_layout.error_bounds import (
    embedding_bound,
    embedding_logit_error,
    logits_bound,
    others_mass_error,
    others_mass_relative_error,
    topk_bound,
)

settings.register_profile("bounds", derandomize=True, max_examples=300, deadline=None)
BOUNDS = settings.get_profile("bounds")


def probabilities(logits):
    """Softmax in float64 over the last axis."""
    exps = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True).astype(np.float64))
    return exps / exps.sum(axis=-1, keepdims=True)


@st.composite
def halfway(draw):
    """A number that float16 rounds the furthest: just between two neighbours."""
    low = np.uint16(draw(st.integers(1, 0x7BFE))).view(np.float16)
    return np.float32((float(low) + float(np.nextafter(low, np.float16(np.inf)))) / 2)


DISTANCES = st.one_of(
    st.floats(0, 16, width=32),
    halfway().filter(lambda d: d < 16),
    halfway(),
    st.sampled_from([0.0, 1e-40, 2.0**-25, 65504.0, 65519.0, 65520.0, 1e5, 3e38]),
)


@st.composite
def groups(draw):
    """Up to four groups of classes: (distance below the largest, how many)."""
    return draw(st.lists(st.tuples(DISTANCES, st.sampled_from([1, 1, 2, 7, 50, 900])), max_size=4))


@st.composite
def one_critical_group(draw):
    """Classes that together weigh about as much as the largest, at the start of a step of float16, half-way."""
    distance = 2.0 ** draw(st.integers(-2, 3)) * (1 + 2.0**-11)
    return [(distance, max(1, round(np.exp(distance) * draw(st.floats(0.2, 2)))))]


@st.composite
def one_view(draw, min_classes=1):
    """Logits [1, C] float32: groups of equal logits below a largest, anywhere, in any order."""
    drawn = draw(st.one_of(groups(), one_critical_group()))
    below = np.concatenate([[0.0], *(np.full(count, distance) for distance, count in drawn)])
    if len(below) < min_classes:
        below = np.concatenate([below, np.full(min_classes - len(below), draw(DISTANCES))])
    largest = draw(st.sampled_from([0.0, 0.0, 0.0, 25.0, -1e4, 1e30]))
    order = np.random.default_rng(draw(st.integers(0, 2**32))).permutation(len(below))
    return (np.float32(largest) - below.astype(np.float32))[order][None]


def worst(check: Callable[[Callable[[float, float], None]], None]) -> float:
    """Runs a property that reports (error, bound) pairs; all within the bound, and the largest share of it."""
    shares = [0.0]

    def report(error, bound):
        assert error <= bound + 1e-12  # float64's own
        shares.append(error / bound if bound else 0.0)

    check(report)
    return max(shares)


def test_logits_probabilities_over_all_classes():
    def check(report):
        @BOUNDS
        @given(one_view())
        def run(logits):
            decoded = decode_logits(encode_logits(logits))
            error = np.abs(probabilities(decoded) - probabilities(logits)).max()
            report(error, logits_bound(logits.shape[1]).probability)

        run()

    assert worst(check) > 0.5


def test_logits_probabilities_over_a_part_grow_with_the_distance_of_its_best():
    def check(report):
        @BOUNDS
        @given(st.lists(DISTANCES, min_size=1, max_size=6), DISTANCES)
        def run(differences, distance):
            below = -np.array([distance, *(distance + d for d in differences)])
            logits = np.concatenate([[0.0], np.maximum(below, -3e38)]).astype(np.float32)[None]
            decoded = decode_logits(encode_logits(logits)[:, 1:])
            error = np.abs(probabilities(decoded) - probabilities(logits[:, 1:])).max()
            report(error, logits_bound(logits.shape[1] - 1).at(-logits[0, 1:].max()))

        run()

    assert worst(check) > 0.5


def test_the_bound_of_logits_is_nearly_reached():
    """One class against 999 that are equally far: half the mass each, and a distance that rounds the furthest."""
    distance = np.float32(8 + 2.0**-8)  # float16's step is 2^-7 from 8 on
    logits = np.concatenate([[0.0], np.full(999, -distance)]).astype(np.float32)[None]
    error = np.abs(probabilities(decode_logits(encode_logits(logits))) - probabilities(logits)).max()
    bound = logits_bound(1000).probability
    assert 7e-4 < error < bound == pytest.approx(9.53e-4, rel=1e-3)
    part = decode_logits(encode_logits(np.array([[0.0, -16, -16 - 2.0**-7]], np.float32)))[:, 1:]
    assert np.abs(probabilities(part) - probabilities(np.array([[0, -(2.0**-7)]]))).max() > 1.9e-3


def test_the_best_is_exact_and_what_float16_cannot_hold_is_clamped():
    logits = np.array([[1e5, 0.0, 1e5 - 65504, 1e5 - 65519, -3e38], [3e38, -3e38, 0, 1, 2]], np.float32)
    stored = encode_logits(logits)
    assert stored.dtype == np.float16
    assert stored[0].tolist() == [0.0, LOWEST, LOWEST, LOWEST, LOWEST]
    assert stored[1].tolist() == [0.0] + [LOWEST] * 4
    assert probabilities(decode_logits(stored)).tolist() == [[1.0, 0, 0, 0, 0]] * 2


def test_embedding_logits_and_probabilities():
    """The text that errs most is the one along the rounding error itself, or against it."""

    def check(report):
        @BOUNDS
        @given(st.integers(1, 600), st.integers(0, 2**32), st.sampled_from([1.0, 100.0]), st.booleans(), st.booleans())
        def run(width, seed, scale, small, coarse):
            generator = np.random.default_rng(seed)
            vector = generator.normal(size=width) * (1e-6 if small else 1.0)
            if coarse:  # components that float16 rounds the furthest
                vector = np.ldexp(1 + 2.0**-11, generator.integers(-3, 1, width))
            vector[0] = 1.0 if small else vector[0]
            embedding = (vector / np.linalg.norm(vector)).astype(np.float32)[None]
            stored = encode_embedding(embedding)
            along = (stored.astype(np.float64) - embedding)[0]
            along = along / np.linalg.norm(along) if along.any() else np.eye(width)[0]
            text = np.stack([along, -along]).astype(np.float32)
            exact = scale * (embedding.astype(np.float64) @ text.T.astype(np.float64))
            decoded = decode_embedding(stored, text * np.float32(scale))
            report(np.abs(decoded - exact).max(), embedding_logit_error(scale, width))
            error = np.abs(probabilities(decoded) - probabilities(exact)).max()
            assert error <= embedding_bound(scale, width).probability

        run()

    assert worst(check) > 0.5


def test_embedding_probability_bound_is_nearly_reached():
    """A vector across whose rounding error two texts lie, equally likely."""
    generator = np.random.default_rng(0)
    # A cosine of which all components are rounded up as far as can be.
    signs = generator.choice([-1.0, 1.0], 1024)
    embedding = (signs * (1 + 2.0**-11) / 32 / (1 + 2.0**-11)).astype(np.float32)
    embedding = np.where(np.arange(1024) % 2, embedding * (1 + 0.99 * 2.0**-11), embedding).astype(np.float32)
    embedding /= np.linalg.norm(embedding)
    stored = encode_embedding(embedding[None])
    along = (stored.astype(np.float64) - embedding)[0]
    along -= embedding * (along @ embedding)
    text = np.stack([along, -along]) / np.linalg.norm(along)
    exact = 100 * (embedding.astype(np.float64) @ text.T)
    decoded = decode_embedding(stored, (100 * text).astype(np.float32))
    error = np.abs(probabilities(decoded) - probabilities(exact[None])).max()
    bound = embedding_bound(100, 1024).probability
    assert bound / 10 < error < bound == pytest.approx(0.02753, rel=1e-3)


def test_topk_kept_probabilities_and_the_mass_of_the_others():
    def check_kept(report):
        @BOUNDS
        @given(one_view(), st.data())
        def run(logits, data):
            num_classes = logits.shape[1]
            top_k = data.draw(
                st.sampled_from([1, 2, 16, num_classes - 1, num_classes]).filter(lambda k: 0 < k <= num_classes)
            )
            rows = encode_topk(logits, top_k)
            exact, decoded = probabilities(logits)[0], probabilities(decode_topk(rows, num_classes))[0]
            kept = rows.index_BK[0].astype(int)
            report(np.abs(decoded - exact)[kept].max(), topk_bound(top_k, num_classes).probability)

        run()

    def check_others(report):
        @BOUNDS
        @given(one_view(min_classes=2), st.sampled_from([1, 2, 16, 1000]))
        def run(logits, top_k):
            num_classes = logits.shape[1]
            top_k = min(top_k, num_classes - 1)
            rows = encode_topk(logits, top_k)
            exact, decoded = probabilities(logits)[0], decode_topk(rows, num_classes)[0]
            others = np.setdiff1d(np.arange(num_classes), rows.index_BK[0])
            assert len(set(decoded[others])) == 1
            mass, found = exact[others].sum(), probabilities(decoded)[others].sum()
            bound = others_mass_error(num_classes) + others_mass_relative_error(top_k) * mass
            report(abs(found - mass), bound)

        run()

    assert worst(check_kept) > 0.5
    assert worst(check_others) > 0.3


def test_topk_of_a_small_view():
    rows = encode_topk(np.array([[1.0, 3.0, 2.0, 3.0]], np.float32), 3)
    assert rows.value_BK.tolist() == [[0.0, 0.0, -1.0]]
    assert rows.index_BK.tolist() == [[1, 3, 2]]
    assert rows.logsumexp_B[0] == np.float32(np.log(2 + np.exp(-1) + np.exp(-2)))
    assert decode_topk(rows, 4)[0] == pytest.approx([-2, 0, -1, 0], abs=1e-6)
    assert [row.dtype for row in rows] == [np.float16, np.uint16, np.float32]


@BOUNDS
@given(one_view(), st.data())
def test_topk_is_descending_and_breaks_ties_by_class_number(logits, data):
    top_k = data.draw(st.integers(1, logits.shape[1]))
    rows = encode_topk(logits, top_k)
    below = logits[0] - logits.max() if np.abs(logits).max() < 1e38 else np.clip(logits[0] - logits.max(), -3e38, 0)
    expected = sorted(range(logits.shape[1]), key=lambda c: (-below[c], c))[:top_k]
    assert rows.index_BK[0].tolist() == expected
    assert np.array_equal(rows.value_BK[0], encode_logits(logits)[0][expected])
    assert np.array_equal(
        decode_topk(encode_topk(logits, len(below)), len(below)), decode_logits(encode_logits(logits))
    )


def test_topk_where_nothing_is_left_for_the_others():
    """Mass that float32 cannot tell from none: finite logits all the same, and no more mass than that."""
    logits = np.array([[0.0, -3e38, -3e38], [0.0, -0.5, -60.0], [0.0, -1.0, -25.0]], np.float32)
    decoded = decode_topk(encode_topk(logits, 2), 3)
    assert np.isfinite(decoded).all()
    assert decoded[0].tolist() == [0.0, LOWEST, LOWEST]
    assert (probabilities(decoded)[:, 2] < 2e-7).all()
    seconds = -np.linspace(0.1, 3, 64)
    many = np.stack([0 * seconds, seconds, 0 * seconds - 60], axis=1).astype(np.float32)
    assert (decode_topk(encode_topk(many, 2), 3)[:, 2] > -21).all(), "float32's noise is no mass of zero"
    alone = decode_topk(encode_topk(np.array([[0.0, -30.0, -40.0]], np.float32), 1), 3)[0]
    assert alone[1:] == pytest.approx(-30 - np.log(2), abs=1e-3), "mass of 1e-13, told to three digits"


def test_many_classes_have_wide_numbers():
    logits = np.linspace(0, 1, 70_000, dtype=np.float32)[None]
    rows = encode_topk(logits, 4)
    assert rows.index_BK.dtype == np.uint32
    assert rows.index_BK.tolist() == [[69999, 69998, 69997, 69996]]
    assert encode_topk(logits[:, : 2**16], 1).index_BK.tolist() == [[65535]]
    assert encode_topk(logits[:, : 2**16], 1).index_BK.dtype == np.uint16


def test_one_class_has_nothing_to_round():
    logits = np.array([[3.7], [-1e30]], np.float32)
    rows = encode_topk(logits, 1)
    assert encode_logits(logits).tolist() == rows.value_BK.tolist() == [[0.0], [0.0]]
    assert rows.logsumexp_B.tolist() == [0.0, 0.0]
    assert logits_bound(1).probability == 0.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(bad):
    values = np.full((3, 2), np.sqrt(0.5), np.float32)
    values[1, 1] = bad
    for encode in (encode_embedding, encode_logits, lambda logits: encode_topk(logits, 1)):
        with pytest.raises(ValueError, match="row 1, column 1: found"):
            encode(values)


def test_other_arguments_are_refused():
    logits = np.zeros((2, 3), np.float32)
    with pytest.raises(ValueError, match="top_k: found 4, expected 1 to 3"):
        encode_topk(logits, 4)
    with pytest.raises(ValueError, match="top_k: found 0"):
        encode_topk(logits, 0)
    with pytest.raises(ValueError, match="found float64"):
        encode_logits(logits.astype(np.float64))
    with pytest.raises(ValueError, match=r"found float32 \(2, 0\)"):
        encode_logits(logits[:, :0])
    with pytest.raises(ValueError, match="row 0: found norm 0, expected a unit vector"):
        encode_embedding(logits)


def test_arrays_of_encodings():
    specs = label_arrays(["topk", "embedding", "logits"], width=512, num_classes=1000, top_k=16)
    assert {spec.name: (spec.row_shape, spec.dtype) for spec in specs} == {
        "teacher/embedding": ((512,), "float16"),
        "teacher/logits": ((1000,), "float16"),
        "teacher/topk_value": ((16,), "float16"),
        "teacher/topk_index": ((16,), "uint16"),
        "teacher/logsumexp": ((), "float32"),
    }
    assert [spec.dtype for spec in label_arrays(["topk"], width=1, num_classes=70_000, top_k=4)][1] == "uint32"
    assert label_arrays(["logits"], width=1, num_classes=4, top_k=99)[0].row_shape == (4,)
    with pytest.raises(ValueError, match="found dense, expected some of embedding, logits, topk"):
        label_arrays(["dense"], width=1, num_classes=4, top_k=1)
    with pytest.raises(ValueError, match="top_k: found 5, expected 1 to 4"):
        label_arrays(["topk"], width=1, num_classes=4, top_k=5)
