"""Where tasks will run is decided by the config, not by the machine that submits them."""

import pytest
import torch

from fdbpl.pipeline.config import ClusterConfig, LoadingConfig, RunConfig
from fdbpl.pipeline.device import choose_device, decoder_name, device_here, planned_device

MODEL = {"model": "ViT-B-32", "pretrained": "openai"}


def config(device: str = "auto", **cluster: object) -> RunConfig:
    data = {"name": "x", "folder": "x", "split": "x"}
    base = RunConfig.model_validate({"folder": "run", "data": data, "teacher": MODEL})
    return base.model_copy(
        update={"loading": LoadingConfig(device=device), "cluster": ClusterConfig.model_validate(cluster)}
    )


@pytest.fixture(autouse=True)
def no_gpu_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_slurm_tasks_with_gpus_use_them_though_the_login_node_has_none() -> None:
    there = config(kind="slurm", gpus=1)
    assert (planned_device(there), decoder_name(there), device_here(there)) == ("cuda", "dali", "cpu")
    asked = config("cuda", kind="slurm", gpus=1)
    assert (planned_device(asked), device_here(asked)) == ("cuda", "cpu")


def test_local_tasks_use_what_is_here() -> None:
    here = config(kind="local", gpus=1)
    assert (planned_device(here), decoder_name(here), device_here(here)) == ("cpu", "torchvision", "cpu")


def test_the_cpu_is_taken_where_it_was_asked_for() -> None:
    asked = config("cpu", kind="slurm", gpus=1)
    assert (planned_device(asked), decoder_name(asked)) == ("cpu", "torchvision")


def test_a_gpu_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="no usable GPU"):
        planned_device(config("cuda", kind="local"))
    with pytest.raises(ValueError, match="expected auto, cpu or cuda"):
        choose_device("tpu")
