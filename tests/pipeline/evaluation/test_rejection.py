import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fdbpl.pipeline.evaluation.rejection import auc, rejection, scores


def test_scores_by_hand() -> None:
    logits = torch.tensor([[math.log(3.0), 0.0], [0.0, math.log(4.0)]])
    negative = torch.tensor([[0.0, 9.0], [9.0, math.log(4.0)]])
    found = scores(logits, logits - negative)
    assert found["max_probability"].tolist() == pytest.approx([math.log(0.75), math.log(0.8)])
    assert found["negative"].tolist() == pytest.approx([math.log(3.0), 0.0])
    # sigmoid(log 3) = 3/4, sigmoid(0) = 1/2.
    assert found["both"].tolist() == pytest.approx([math.log(0.75 * 0.75), math.log(0.8 * 0.5)])
    assert set(scores(logits, None)) == {"max_probability"}


def test_auroc_and_fpr95_by_hand() -> None:
    listed = np.arange(20, dtype=np.float64)  # one in twenty may be lost: the threshold is 1
    found = rejection(listed, np.array([-1.0, 0.5, 1.0, 30.0]))
    assert found["fpr95"] == 50.0
    below = [0, 19, 18.5, 0]  # listed images above each unlisted one, ties half
    assert found["auroc"] == pytest.approx(100 * (20 + below[1] + below[2] + 0) / 80, abs=0.01)


def test_without_images_of_one_kind_there_is_nothing_to_tell() -> None:
    with pytest.raises(ValueError, match="found 0 listed and 1 unlisted images"):
        rejection(np.array([]), np.array([1.0]))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=12), st.lists(st.integers(0, 5), min_size=1, max_size=12))
def test_auc_is_the_count_over_all_pairs(positive: list[int], negative: list[int]) -> None:
    pairs = [1.0 if p > n else 0.5 if p == n else 0.0 for p in positive for n in negative]
    found = auc(np.array(positive, dtype=np.float64), np.array(negative, dtype=np.float64))
    assert found == pytest.approx(sum(pairs) / len(pairs))
