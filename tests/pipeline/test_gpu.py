"""The main job on a CUDA device: run by `make gpu-check`."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from fdbpl.cache_layout.reader import open_reader
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.data.load import load_data
from fdbpl.pipeline.progress import Ui
from fdbpl.pipeline.run.workflow import Workflow
from fdbpl.pipeline.students.checked import student_plans
from fdbpl.pipeline.training.gather import gather

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: run by `make gpu-check` where one is"),
]


@pytest.mark.parametrize("decoder", ["auto", "torchvision"])
def test_the_whole_job_runs_and_cached_follows_online(
    decoder: str, make_config: Callable[..., RunConfig], student_table: Callable[..., dict[str, Any]]
) -> None:
    tables = [student_table(objective=["kdpl", "fdbpl"]), student_table(name="live", features="live")]
    loading = {"device": "cuda", "decoder": decoder, "batch_size": 64}
    config = make_config(student=tables, loading=loading)
    flow = Workflow(config, Ui(quiet=True), command="fdbpl train")
    assert flow.teach()["views_computed"] == 128 * 4
    flow.features()
    assert len(flow.train()["trained"]) == 3
    assert flow.evaluate()["unfinished"] == []

    plan = student_plans(config)[0]
    data = load_data(config.data)
    with open_reader(config.store.path) as reader:
        cached = gather(config, plan, data, reader)
        online = gather(config, replace(plan, supervision="online"), data, reader)
        ids = cached.training.image_ids_M[:16]
        views = cached.views(ids, ids % 4, cached.training.labels_M[:16])
        stored = cached.supervision.targets(views).teacher().log_softmax(dim=-1)
        live = online.supervision.targets(views).teacher().log_softmax(dim=-1)
    assert stored.device.type == live.device.type == "cuda"
    torch.testing.assert_close(stored.exp(), live.exp(), rtol=0, atol=2e-3)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_half_precision_students_train(
    precision: str, make_config: Callable[..., RunConfig], student_table: Callable[..., dict[str, Any]]
) -> None:
    config = make_config(
        student=[student_table(objective="fdbpl", precision=precision)],
        loading={"device": "cuda", "batch_size": 64},
    )
    flow = Workflow(config, Ui(quiet=True), command="fdbpl train")
    flow.teach()
    flow.features()
    assert flow.train()["views"] == 2 * 2 * 16
