"""Logits that are hard to store: ties, float16's half-way points, and numbers that it cannot hold."""

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

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
