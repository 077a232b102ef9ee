"""Every learner in the pipeline: trained on a store's labels and live pixels, saved, loaded and tested on images."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from learner_cases import SMALL, WITH_TEXT
from vit_files import vit_files

from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.data.exclusions import run_data
from fdbpl.pipeline.data.load import training_set
from fdbpl.pipeline.evaluation import protocol
from fdbpl.pipeline.evaluation.features import write_test_features
from fdbpl.pipeline.evaluation.student_tests import TrainedLearners, measure
from fdbpl.pipeline.evaluation.test_sets import TestSets, pass_of
from fdbpl.pipeline.run_folder import RunFolder
from fdbpl.pipeline.students.checked import student_plans
from fdbpl.pipeline.training.checkpoint import read_prompts
from fdbpl.pipeline.training.gather import gather
from fdbpl.pipeline.training.student_run import run_student
from fdbpl.pipeline.training.student_store import open_store_for


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return vit_files(tmp_path_factory.mktemp("vit"), "test-vit")


@pytest.mark.parametrize("name", SMALL)
def test_it_learns_and_is_tested(
    name: str,
    vit: dict[str, str],
    taught: RunConfig,
    make_config: Callable[..., RunConfig],
    student_table: Callable[..., dict[str, Any]],
) -> None:
    objective = "promptkd" if name == "promptkd" else "fdbpl" if name in WITH_TEXT else "kdpl"
    table = student_table(
        **vit,
        learner=name,
        objective=objective,
        supervision="cached",
        features="live",
        learner_options={name: SMALL[name]},
    )
    config = make_config(student=[table], store=taught.store.model_dump(mode="json"))
    (plan,) = student_plans(config)
    data = run_data(config)
    with open_store_for(config, [plan], data) as reader:
        start = {part: value.clone() for part, value in gather(config, plan, data, reader).learner.state_dict().items()}
    assert run_student(config, plan)["steps"] == 4
    learned, _ = read_prompts(RunFolder(config.folder).student(plan.id).prompts_file)
    assert set(learned) == set(start)
    assert all(value.isfinite().all() and not torch.equal(value, start[part]) for part, value in learned.items())

    with TrainedLearners(config, "cpu") as learners:
        learner = learners.of(plan)
        assert learner.class_names == training_set(data, plan).class_names
        for one in protocol.tests_of(config):
            write_test_features(config, pass_of(config, one, plan.config).key, lambda _done, _total: None)
        found = measure(learner, TestSets(config, plan.config), reject=True)
        assert set(found["accuracy"]) == {"base", "new"}
        assert ("negative" in found["rejection"]) == (name in WITH_TEXT)
