"""Students that train as one program: who may, and that each ends as it would alone."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alone import compare
from encoded_store import store_of

from fdbpl.cache_layout.reader import open_reader
from fdbpl.pipeline.bench.small_run import feature_pass
from fdbpl.pipeline.config import ClusterConfig, RunConfig, StudentConfig
from fdbpl.pipeline.data.load import load_data
from fdbpl.pipeline.students import packs as packs_module
from fdbpl.pipeline.students.checked import pack_by_id, student_plans
from fdbpl.pipeline.students.packs import pack_id, packs
from fdbpl.pipeline.training.gather import gather_all
from fdbpl.pipeline.training.view_stream import ViewStream

MakeConfig = Callable[..., RunConfig]


@pytest.fixture
def config_of(taught: RunConfig, make_config: MakeConfig) -> MakeConfig:
    """Makes a config of these tables over the finished store."""

    def make(*tables: dict[str, Any], **changes: Any) -> RunConfig:
        return make_config(student=tables, **changes).model_copy(update={"store": taught.store})

    return make


@pytest.mark.parametrize(
    "tables",
    [
        [{"objective": "kdpl", "seeds": [1, 2, 3]}],
        [
            {"name": "a", "objective": "fdbpl", "seeds": [1, 2]},
            {"name": "b", "objective": "fdbpl", "optim": {"learning_rate": 0.02, "warmup_epochs": 0}},
            {"name": "c", "objective": "fdbpl", "objective_options": {"fdbpl": {"temperature": 2.0}}},
            {"name": "d", "objective": "fdbpl", "objective_options": {"fdbpl": {"form": "as_published"}}},
            {"name": "e", "objective": "fdbpl", "objective_options": {"fdbpl": {"weights": "shuffled"}}},
            {"name": "f", "objective": "fdbpl", "objective_options": {"fdbpl": {"form": "presence"}}},
            {"name": "like_a", "objective": "fdbpl", "seeds": [3]},
        ],
        [
            {"name": "a", "views": "informative", "importance": True, "seeds": [1, 2]},
            {"name": "b", "views": "random", "optim": {"optimizer": "adam"}},
        ],
        [{"objective": "cross_entropy", "supervision": "hard", "seeds": [1, 2]}],
        [{"objective": "pseudo_labels", "seeds": [1, 2]}],
        [
            {"name": "a", "objective": "promptkd", "seeds": [1, 2]},
            {"name": "b", "objective": "promptkd", "objective_options": {"promptkd": {"weight_of_kl": 200.0}}},
        ],
        [{"learner_options": {"coop": {"context": "", "class_position": "middle"}}, "seeds": [1, 2]}],
        [{"objective": "fdbpl", "seeds": [1, 2], "learner_options": {"coop": {"coupling": "token", "subtract": 0.5}}}],
        [{"objective": "fdbpl", "seeds": [1, 2], "learner_options": {"coop": {"context": "", "coupling": "offset"}}}],
        [{"objective": "fdbpl", "seeds": [1, 2], "learner_options": {"coop": {"class_specific": True}}}],
    ],
    ids=["kdpl", "fdbpl", "views", "labels", "pseudo", "promptkd", "middle", "token", "offset", "own"],
)
def test_each_student_ends_as_it_would_alone(
    tables: list[dict[str, Any]], config_of: MakeConfig, student_table: Callable[..., dict[str, Any]], tmp_path: Any
) -> None:
    # Of all classes: contexts of each class's own know no new ones.
    tables = [student_table(epochs=4, classes="all", **table) for table in tables]
    config = config_of(*tables, evaluate={"protocol": "few-shot"})
    assert len(packs(student_plans(config), ClusterConfig(students_per_task=16), 32)) == 1
    compare(config, config.model_copy(update={"folder": tmp_path / "alone"}))


def test_topk_labels_of_all_classes_are_the_same_alone_and_together(
    taught: RunConfig, make_config: MakeConfig, student_table: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    """Alone the loss is computed from the kept classes, together from all."""
    weighed = {"kdpl": {"weights": "informative"}}
    tables = [
        student_table(name="a", classes="all", epochs=4, seeds=[1, 2]),
        student_table(name="b", classes="all", epochs=4, objective_options=weighed),
    ]
    stored = store_of(taught, tmp_path, ("topk",), 8)
    config = make_config(student=tables).model_copy(update={"store": stored.store})
    feature_pass(config)
    plans, data = student_plans(config), load_data(config.data)
    assert len(packs(plans, ClusterConfig(students_per_task=16), 32)) == 1
    with open_reader(config.store.path) as reader:
        (one, *_) = gather_all(config, plans, data, reader)
        with closing(ViewStream([one], batch_size=16, epochs=range(1))) as stream:
            assert one.supervision.targets(next(stream.epoch())).kept is not None
    compare(config, config.model_copy(update={"folder": tmp_path / "alone"}))


def test_students_of_another_form_are_in_other_packs(
    config_of: MakeConfig, student_table: Callable[..., dict[str, Any]]
) -> None:
    tables = [
        student_table(name="a", objective=["kdpl", "fdbpl"], seeds=[1, 2, 3]),
        student_table(name="b", objective="kdpl", optim={"learning_rate": 0.1}, seeds=[1]),
        student_table(name="batch", batch_size=8),
        student_table(name="epochs", epochs=3),
        student_table(name="shots", shots=1),
        student_table(name="classes", classes="all"),
        student_table(name="options", learner_options={"coop": {"context": "a picture of a"}}),
        student_table(name="plain", text_tower="plain", seeds=[1, 2]),
        student_table(name="live", features="live", seeds=[1, 2]),
        student_table(name="online", supervision="online", seeds=[1, 2]),
        student_table(name="cocoop", learner="cocoop", seeds=[1, 2]),
    ]
    plans = student_plans(config_of(*tables))

    def sizes(cluster: ClusterConfig, num_classes: int = 32) -> list[tuple[str, int]]:
        return [(pack[0].id.split("-")[0], len(pack)) for pack in packs(plans, cluster, num_classes)]

    single = ["batch", "epochs", "shots", "classes", "options", *["plain"] * 2, *["live"] * 2, *["online"] * 2]
    alone = [(name, 1) for name in [*single, *["cocoop"] * 2]]
    whole = [("a", 4), ("a", 3), *alone]
    assert sizes(ClusterConfig(students_per_task=16)) == whole
    assert sizes(ClusterConfig(students_per_task=2)) == [("a", 2), ("a", 2), ("a", 2), ("a", 1), *alone]
    # As the config says nothing: none of ten workers is to be idle, and prompts are to fit.
    assert sizes(ClusterConfig(max_workers=1)) == whole
    assert sizes(ClusterConfig(max_workers=10)) == [("a", 2), ("a", 2), ("a", 2), ("a", 1), *alone]
    names = [*["a"] * 3, "b", *["a"] * 3]
    assert sizes(ClusterConfig(max_workers=1), num_classes=5000) == [*((name, 1) for name in names), *alone]


def test_a_pack_is_found_by_its_id(config_of: MakeConfig, student_table: Callable[..., dict[str, Any]]) -> None:
    config = config_of(student_table(seeds=[1, 2, 3]), cluster={"kind": "local", "students_per_task": 2})
    plans = student_plans(config)
    known = packs(plans, config.cluster, 32)
    assert [pack_id(pack) for pack in known] == ["coop-kdpl-cached-seed1+1", "coop-kdpl-cached-seed3"]
    assert pack_by_id(config, "coop-kdpl-cached-seed1+1", 32) == plans[:2]
    with pytest.raises(ValueError, match=r"found no students 'coop-kdpl-cached-seed2' .* expected one of coop-kdpl"):
        pack_by_id(config, "coop-kdpl-cached-seed2", 32)


def test_the_choices_that_a_pack_need_not_share_are_those_of_the_config() -> None:
    assert set(StudentConfig.model_fields) >= packs_module._OWN | packs_module._OF_PLAN
