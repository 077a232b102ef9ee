import numpy as np
import pytest

from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.evaluation.regions import region_weights
from fdbpl.pipeline.evaluation.rejection import auc


def test_auc_by_hand() -> None:
    assert auc(np.array([3.0, 2.0]), np.array([1.0, 2.0])) == pytest.approx((1 + 1 + 1 + 0.5) / 4)
    assert auc(np.array([1.0]), np.array([2.0])) == 0.0
    assert auc(np.array([]), np.array([1.0])) is None


def test_every_view_of_the_store_has_a_kind(taught: RunConfig) -> None:
    result = region_weights(taught.store.path, taught.data.folder / "scenes.json")
    kinds = ("background", "distractor", "main")
    assert sum(result[kind]["views"] for kind in kinds) == 128 * 4
    assert result["background"]["mean_weight"] < result["main"]["mean_weight"]
