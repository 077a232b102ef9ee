"""What each encoding stores, in numbers that can be checked by eye, and what it refuses."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from logits_example import BOUNDS, one_view, probabilities

from fdbpl.cache_layout.encodings import (
    LOWEST,
    decode_logits,
    decode_topk,
    encode_embedding,
    encode_logits,
    encode_topk,
    label_arrays,
)
from fdbpl.cache_layout.error_bounds import logits_bound


def test_the_best_is_exact_and_what_float16_cannot_hold_is_clamped():
    logits = np.array([[1e5, 0.0, 1e5 - 65504, 1e5 - 65519, -3e38], [3e38, -3e38, 0, 1, 2]], np.float32)
    stored = encode_logits(logits)
    assert stored.dtype == np.float16
    assert stored[0].tolist() == [0.0, LOWEST, LOWEST, LOWEST, LOWEST]
    assert stored[1].tolist() == [0.0] + [LOWEST] * 4
    assert probabilities(decode_logits(stored)).tolist() == [[1.0, 0, 0, 0, 0]] * 2


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
        with pytest.raises(ValueError, match="row 1: found NaN or infinity"):
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
