"""Every learner in the pipeline: trained on a store's labels and live pixels, saved, loaded and tested on images."""

import json
from collections.abc import Callable
from typing import Any

import open_clip
import pytest
import torch
from learner_cases import SMALL, WITH_TEXT

from fdbpl.pipeline.checkpoint import read_prompts
from fdbpl.pipeline.clip.backbone import random_checkpoint
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.data import training_set
from fdbpl.pipeline.evaluation import protocol
from fdbpl.pipeline.evaluation.features import write_test_features
from fdbpl.pipeline.evaluation.student_tests import TrainedLearners, measure
from fdbpl.pipeline.evaluation.test_sets import TestSets, pass_of
from fdbpl.pipeline.exclusions import run_data
from fdbpl.pipeline.run_folder import RunFolder
from fdbpl.pipeline.student_run import gather, open_store_for, run_student
from fdbpl.pipeline.students import student_plans

MODEL = "test-vit"
CONFIG = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": 48, "layers": 3, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 24, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 3},
}


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A vision transformer with random weights that open_clip knows by name."""
    folder = tmp_path_factory.mktemp("vit")
    (folder / "configs").mkdir()
    (folder / "configs" / f"{MODEL}.json").write_text(json.dumps(CONFIG))
    open_clip.add_model_config(folder / "configs")
    return {"model": MODEL, "pretrained": str(random_checkpoint(MODEL, folder / "vit.safetensors"))}


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
    with open_store_for(config, plan, data) as reader:
        start = {part: value.clone() for part, value in gather(config, plan, data, reader).learner.state_dict().items()}
    assert run_student(config, plan)["steps"] == 4
    learned, _ = read_prompts(RunFolder(config.folder).student(plan.id).prompts_file)
    assert set(learned) == set(start)
    assert all(value.isfinite().all() and not torch.equal(value, start[part]) for part, value in learned.items())

    learner = TrainedLearners(config, "cpu").of(plan)
    assert learner.class_names == training_set(data, plan).class_names
    for one in protocol.tests_of(config):
        write_test_features(config, pass_of(config, one, plan.config).key, lambda _done, _total: None)
    found = measure(learner, TestSets(config, plan.config), reject=True)
    assert set(found["accuracy"]) == {"base", "new"}
    assert ("negative" in found["rejection"]) == (name in WITH_TEXT)
