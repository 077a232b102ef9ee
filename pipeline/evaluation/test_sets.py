"""The test images of a run under one model, test by test, and what a classifier makes of them.

All models are measured on the same images: those that cannot be read under any are left out for all.
Letters: N images, C classes, D embedding, B batch.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fdbpl.pipeline.config import ModelConfig, RunConfig
from fdbpl.pipeline.data.load import DataSets
from fdbpl.pipeline.datasets.data_set import DataSet
from fdbpl.pipeline.evaluation.features import read_test_features, test_pixels
from fdbpl.pipeline.evaluation.protocol import Test, tests_of
from fdbpl.pipeline.evaluation.record import excluded_tests, pass_of
from fdbpl.pipeline.learners.base import Learner
from fdbpl.pipeline.values import Views

# Images whose logits are computed at once from features.
_BATCH = 4096


@dataclass(frozen=True, kw_only=True, eq=False)
class TestSet:
    """A test with its images under one model.

    Attributes:
        test: which.
        config: the run's, with the test's data set in place of its own.
        data: that data set.
        class_names: C names among which images are told apart.
        positions_N: the images that can be read, by their places in the test split, int64.
        features_ND: their unit features, float32.
        labels_N: their labels among `class_names`, int64; -1 of other classes.
    """

    __test__ = False  # no test of pytest's

    test: Test
    config: RunConfig
    data: DataSet
    class_names: tuple[str, ...]
    positions_N: Tensor
    features_ND: Tensor
    labels_N: Tensor

    def accuracy(self, predicted_N: Tensor) -> float:
        """Percentage of its own images whose class is right: micro accuracy, as the field reports it."""
        own_N = self.labels_N >= 0
        return 100.0 * float((predicted_N == self.labels_N)[own_N].to(torch.float64).mean())

    def views(self, learner: Learner, chosen_N: Tensor) -> Iterator[Views]:
        """The chosen images (a mask) as a learner needs them, in order, on its device."""
        positions, features_MD = self.positions_N[chosen_N], self.features_ND[chosen_N]
        device, start = learner.backbone.device, 0
        size = learner.backbone.image_size
        pixels: Iterator[Tensor | None] = (
            test_pixels(self.config, self.data, positions.tolist(), size)
            if "pixels" in learner.needs
            else (None for _ in range(0, len(positions), _BATCH))
        )
        for pixels_BCHW in pixels:
            stop = start + (len(pixels_BCHW) if pixels_BCHW is not None else _BATCH)
            ids_B = positions[start:stop]
            yield Views(
                image_ids_B=ids_B,
                seeds_B=torch.zeros_like(ids_B),
                labels_B=self.labels_N[chosen_N][start:stop],
                pixels_BCHW=pixels_BCHW,
                features_BD=features_MD[start:stop].to(device),
            )
            start = stop


class TestSets:
    """All test sets of a run under one model."""

    __test__ = False  # no test of pytest's

    def __init__(self, config: RunConfig, model: ModelConfig, data_sets: DataSets | None = None) -> None:
        """Raises ValueError where features are missing, or where no image of a test is left.

        Args:
            data_sets: those that were read already.
        """
        self.model = model
        self._data_sets = data_sets or DataSets()
        self.sets = tuple(self._set(config, test) for test in tests_of(config))

    def by_text(self, classifier: Callable[[TestSet], Tensor]) -> dict[str, float]:
        """The accuracy of each test with unit text features [C, D] of its class names."""
        return {
            one.test.name: one.accuracy((one.features_ND @ classifier(one).cpu().T).argmax(dim=-1)) for one in self.sets
        }

    def _set(self, config: RunConfig, test: Test) -> TestSet:
        one = pass_of(config, test, self.model)
        data = self._data_sets.of(test.data)
        found = read_test_features(one, data)
        excluded: Mapping[str, str] = excluded_tests(config, test.data.name)
        is_in_N = torch.tensor([data.test.paths[image] not in excluded for image in found.images_N.tolist()])
        positions_N = found.images_N[is_in_N]
        labels_N = torch.from_numpy(np.asarray(data.test.labels, dtype=np.int64))[positions_N]
        part = test.labels(data)
        inside_N = (labels_N >= part.start) & (labels_N < part.stop)
        if not inside_N.any():
            raise ValueError(
                f"{data.name}: found no test image of {test.name} ({len(excluded)} cannot be read and are excluded), "
                "expected some: mend them"
            )
        return TestSet(
            test=test,
            config=one.config,
            data=data,
            class_names=data.class_names[part.start : part.stop],
            positions_N=positions_N,
            features_ND=found.features_ND[is_in_N],
            labels_N=torch.where(inside_N, labels_N - part.start, -1),
        )
