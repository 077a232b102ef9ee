from pathlib import Path
from typing import Any

import pytest

from fdbpl.pipeline.config import DataConfig, EvaluateConfig, RunConfig
from fdbpl.pipeline.datasets.data_set import DataSet, Split
from fdbpl.pipeline.evaluation import protocol as protocols
from fdbpl.pipeline.evaluation.protocol import columns, summed_up


def data_config(name: str) -> DataConfig:
    return DataConfig(name=name, folder=Path("data") / name)


def config(protocol: Any, *targets: str) -> RunConfig:
    evaluate = EvaluateConfig(protocol=protocol, targets=tuple(map(data_config, targets)))
    return RunConfig.model_construct(data=data_config("own"), evaluate=evaluate)


def test_base_and_new_are_halves_of_the_own_classes() -> None:
    base, new = protocols.tests_of(config("base-to-new"))
    images = Split(paths=("a", "b", "c", "d"), labels=(0, 1, 2, 2))
    data = DataSet(name="own", root=Path(), class_names=("x", "y", "z"), train=images, val=images, test=images)
    assert (base.labels(data), new.labels(data)) == (range(2), range(2, 3))
    assert (base.num_images(data), new.num_images(data)) == (2, 2)


@pytest.mark.parametrize(
    ("protocol", "targets", "expected"),
    [
        ("base-to-new", (), ("base", "new", "hm")),
        ("few-shot", (), ("accuracy",)),
        ("cross-dataset", ("dtd", "eurosat"), ("own", "dtd", "eurosat", "mean")),
        ("domain-generalisation", ("imagenetv2",), ("own", "imagenetv2", "mean")),
    ],
)
def test_a_protocol_has_its_columns(protocol: str, targets: tuple[str, ...], expected: tuple[str, ...]) -> None:
    assert columns(config(protocol, *targets)) == expected


def test_rows_are_summed_up_as_the_field_does() -> None:
    assert summed_up(config("base-to-new"), {"base": 60.0, "new": 40.0}) == {"base": 60.0, "new": 40.0, "hm": 48.0}
    carried = summed_up(config("cross-dataset", "a", "b"), {"own": 90.0, "a": 50.0, "b": 60.0})
    assert carried["mean"] == 55.0, "the own data set is no part of the mean"
    assert summed_up(config("few-shot"), {"accuracy": 70.0}) == {"accuracy": 70.0}
    assert summed_up(config("base-to-new"), {"base": 0.0, "new": 0.0})["hm"] == 0.0


@pytest.mark.parametrize(
    ("protocol", "targets", "message"),
    [
        ("base-to-new", ("dtd",), "found dtd, expected none for the protocol base-to-new"),
        ("cross-dataset", (), "found none, expected at least one data set to carry prompts to"),
        ("cross-dataset", ("own",), "found the names own, own, expected each once"),
    ],
)
def test_targets_that_do_not_suit_the_protocol_are_refused(
    protocol: str, targets: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        protocols.tests_of(config(protocol, *targets))


@pytest.mark.parametrize("protocol", ["few-shot", "cross-dataset"])
def test_rejection_is_refused_where_all_classes_are_listed(protocol: str) -> None:
    asked = config(protocol, *(["dtd"] if protocol == "cross-dataset" else []))
    asked = asked.model_copy(update={"evaluate": asked.evaluate.model_copy(update={"reject": True})})
    with pytest.raises(ValueError, match=f"evaluate.reject: found true for the protocol {protocol}, expected base-to"):
        protocols.tests_of(asked)
