"""What a run measures: the tests of its protocol, each a data set's test images among some of its class names.

- `base-to-new`: base images among the base names, new images among the new names; summed up by the harmonic mean.
- `few-shot`: all images among all names.
- `cross-dataset`, `domain-generalisation`: the own data set, and each target among its own names; summed up by the mean
  over the targets. They differ in what the targets are: other tasks, or the same one's other pictures.
"""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from fdbpl.pipeline.config import DataConfig, RunConfig
from fdbpl.pipeline.datasets.data_set import DataSet
from fdbpl.pipeline.datasets.few_shot import base_and_new

Part = Literal["base", "new", "all"]


@dataclass(frozen=True, kw_only=True)
class Test:
    """A column of the table: the test images of a data set that belong to a part of its classes, among these."""

    __test__ = False  # no test of pytest's

    name: str
    data: DataConfig
    part: Part = "all"

    def labels(self, data: DataSet) -> range:
        """The labels of its classes in the data set.

        Raises:
            ValueError: a data set of one class has no halves.
        """
        if self.part == "all":
            return range(len(data.class_names))
        base, new = base_and_new(len(data.class_names))
        return base if self.part == "base" else new

    def num_images(self, data: DataSet) -> int:
        """How many test images of the data set are its own."""
        labels = self.labels(data)
        return sum(label in labels for label in data.test.labels)


def tests_of(config: RunConfig) -> tuple[Test, ...]:
    """The tests of a run's protocol, in the order of its table.

    Raises:
        ValueError: targets that the protocol does not have, none where it needs some, or two of one name; rejection
            where all classes are listed.
    """
    own, targets = config.data, config.evaluate.targets
    protocol = config.evaluate.protocol
    carries = protocol in ("cross-dataset", "domain-generalisation")
    if bool(targets) != carries:
        found = ", ".join(target.name for target in targets) or "none"
        expected = "at least one data set to carry prompts to" if carries else "none"
        raise ValueError(f"evaluate.targets: found {found}, expected {expected} for the protocol {protocol}")
    if config.evaluate.reject and protocol != "base-to-new":
        raise ValueError(
            f"evaluate.reject: found true for the protocol {protocol}, expected base-to-new: elsewhere every image "
            "is of a class that is listed, so there is none to reject"
        )
    if protocol == "base-to-new":
        return Test(name="base", data=own, part="base"), Test(name="new", data=own, part="new")
    if protocol == "few-shot":
        return (Test(name="accuracy", data=own),)
    tests = tuple(Test(name=data.name, data=data) for data in (own, *targets))
    if len({test.name for test in tests}) < len(tests):
        names = ", ".join(test.name for test in tests)
        raise ValueError(f"evaluate.targets: found the names {names}, expected each once")
    return tests


def summary_column(config: RunConfig) -> str | None:
    """The name of the column that sums up the tests: `hm`, `mean`, or none."""
    return {"base-to-new": "hm", "few-shot": None}.get(config.evaluate.protocol, "mean")


def columns(config: RunConfig) -> tuple[str, ...]:
    """The names of all numbers of a row."""
    column = summary_column(config)
    return (*(test.name for test in tests_of(config)), *([column] if column else []))


def summed_up(config: RunConfig, accuracies: Mapping[str, float]) -> dict[str, float]:
    """A row's accuracies with the number that sums them up, in percent."""
    column = summary_column(config)
    if column == "hm":
        return {**accuracies, "hm": statistics.harmonic_mean([accuracies["base"], accuracies["new"]])}
    if column == "mean":
        return {**accuracies, "mean": statistics.fmean(accuracies[target.name] for target in config.evaluate.targets)}
    return dict(accuracies)
