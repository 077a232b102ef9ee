"""The small run's store, opened; and students of every kind that `fdbpl inspect` asks in another way."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fdbpl.pipeline.config import RunConfig, StudentConfig
from fdbpl.pipeline.inspection.opened import Opened, open_inspection
from fdbpl.pipeline.progress import Ui
from fdbpl.pipeline.run.workflow import Workflow


@pytest.fixture
def opened(taught: RunConfig) -> Iterator[Opened]:
    with open_inspection(taught) as found:
        yield found


@pytest.fixture(scope="session")
def trained(taught: RunConfig, shared: Path) -> RunConfig:
    """A run over the small run's store: students with negative prompts, one of them with other texts for each image,
    and one without."""

    def table(**changes: object) -> StudentConfig:
        return taught.student[0].model_copy(update={"supervision": ("cached",), **changes})

    tables = (
        table(objective=("fdbpl", "kdpl")),
        table(
            learner=("cocoop",), objective=("fdbpl",), epochs=1, learner_options={"cocoop": {"prompts_at_once": 256}}
        ),
    )
    config = taught.model_copy(update={"folder": shared / "inspected", "student": tables})
    with Workflow(config, Ui(quiet=True), command="fdbpl train") as workflow:
        workflow.train()
    return config
