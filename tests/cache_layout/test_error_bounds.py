"""What is decoded against exact arithmetic on what was encoded. Each bound is tested from both sides: nothing is off
by more, and something is off by more than a tenth of it (so that a bound ten times as tight fails, and so does an
encoding that is not the one the bound is of)."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from logits_example import BOUNDS, DISTANCES, one_view, probabilities

from fdbpl.cache_layout.encodings import (
    decode_embedding,
    decode_logits,
    decode_topk,
    encode_embedding,
    encode_logits,
    encode_topk,
)
from fdbpl.cache_layout.error_bounds import (
    embedding_bound,
    embedding_logit_error,
    logits_bound,
    others_mass_error,
    others_mass_relative_error,
    topk_bound,
)


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
