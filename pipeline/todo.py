"""What is missing of each step of a run, and what closes a step: asked of the results themselves.

Called where a run is planned or submitted, and by the small jobs that look after each step. All are functions of
(run folder, environment, step), as `slurm.chain.Step` names them. What imports torch is imported where it is used.
"""

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from fdbpl.cache_layout.blocks import BlockGrid
from fdbpl.cache_layout.errors import DamagedFile
from fdbpl.cache_layout.seal import seal
from fdbpl.cache_layout.store import Store, open_store
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.data import load_data
from fdbpl.pipeline.datasets.data_set import DataSet
from fdbpl.pipeline.feature_names import feature_campaigns
from fdbpl.pipeline.grid import grown_grid, new_grid, new_paths
from fdbpl.pipeline.run_folder import saved_config
from fdbpl.slurm.chain import Todo

# Names the config that a run's tasks were submitted with.
CONFIG_VARIABLE = "FDBPL_CONFIG"
# Set where the run adds to a store what it lacks.
GROW_VARIABLE = "FDBPL_GROW"
# Joins a campaign and a block in one task id; neither holds the character.
SEPARATOR = "@"
STORE_TASK, REPORT_TASK = "store", "report"
TEACHER = "teacher"


def prepare(folder: Path, environment: Mapping[str, str], step: str) -> Todo:
    """The store's metadata: made, or grown, by one task."""
    is_there = _Run(environment).is_prepared
    return Todo(total=1, missing=() if is_there else (STORE_TASK,), is_finished=is_there)


def teach(folder: Path, environment: Mapping[str, str], step: str) -> Todo:
    """The teacher's blocks."""
    run = _Run(environment)
    return _blocks_todo([_Pass(run.store, TEACHER, run.teacher_grid)], prefixed=False)


def finish_teach(folder: Path, environment: Mapping[str, str], step: str) -> dict[str, Any]:
    return _seal(_Run(environment).config, [TEACHER])


def teach_for_features(folder: Path, environment: Mapping[str, str], step: str) -> Todo:
    """As `teach`; finished once the campaigns of the students' features are begun as well."""
    run = _Run(environment)
    todo = teach(folder, environment, step)
    begun = all(campaign.is_begun for campaign in run.feature_passes)
    return Todo(total=todo.total, missing=todo.missing, is_finished=todo.is_finished and begun)


def finish_teach_for_features(folder: Path, environment: Mapping[str, str], step: str) -> dict[str, Any]:
    """Seal the teacher's labels, and begin the campaigns of features over all that is sealed."""
    from fdbpl.pipeline.features import begin_features

    config = _Run(environment).config
    sealed = _seal(config, [TEACHER])
    if sealed["damaged"]:
        return sealed
    return {**sealed, "begun": begin_features(config)}


def features(folder: Path, environment: Mapping[str, str], step: str) -> Todo:
    """The blocks of the students' features; those of the teacher's grid where a campaign is not begun yet."""
    return _blocks_todo(_Run(environment).feature_passes, prefixed=True)


def finish_features(folder: Path, environment: Mapping[str, str], step: str) -> dict[str, Any]:
    run = _Run(environment)
    return _seal(run.config, [campaign.name for campaign in run.feature_passes])


def test_features(folder: Path, environment: Mapping[str, str], step: str) -> Todo:
    """The test images' features under each model."""
    from fdbpl.pipeline.evaluation_features import missing_features, test_models

    config = _Run(environment).config
    missing = tuple(missing_features(config))
    return Todo(total=len(test_models(config)), missing=missing, is_finished=not missing)


def train(folder: Path, environment: Mapping[str, str], step: str) -> Todo:
    """The students of one stage: `train-2` are those of the second."""
    from fdbpl.pipeline.students import stages, student_plans
    from fdbpl.pipeline.student_record import is_finished

    run = _Run(environment)
    plans = stages(student_plans(run.config))[int(step.rpartition("-")[2]) - 1]
    missing = tuple(plan.id for plan in plans if not is_finished(run.config, plan, run.data))
    return Todo(total=len(plans), missing=missing, is_finished=not missing)


def report(folder: Path, environment: Mapping[str, str], step: str) -> Todo:
    """The table of results, made of the students that are finished now."""
    from fdbpl.pipeline.results import is_current

    is_there = is_current(_Run(environment).config)
    return Todo(total=1, missing=() if is_there else (REPORT_TASK,), is_finished=is_there)


class _Run:
    """A run as its config and its store have it."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.config = config_of(environment)
        self.grows = GROW_VARIABLE in environment

    @cached_property
    def data(self) -> DataSet:
        return load_data(self.config.data)

    @cached_property
    def store(self) -> Store | None:
        return open_store(self.config.store.path) if self.config.store.path.exists() else None

    @property
    def is_prepared(self) -> bool:
        if self.store is None or not self.grows:
            return self.store is not None
        from fdbpl.pipeline.grow import wanting

        return not wanting(self.store, self.config, self.data)

    @cached_property
    def teacher_grid(self) -> BlockGrid:
        """How far the teacher's labels shall reach."""
        if self.store is None:
            return new_grid(self.config, len(self.data.train.paths))
        if self.grows:
            return grown_grid(self.store, self.config, len(new_paths(self.store, self.data.train.paths)))
        return self.store.campaign(TEACHER).grid

    @property
    def feature_passes(self) -> "list[_Pass]":
        return [_Pass(self.store, name, self.teacher_grid) for name in feature_campaigns(self.config)]


class _Pass:
    """A campaign of a store (neither need be there yet), and how far it shall reach."""

    def __init__(self, store: Store | None, name: str, target: BlockGrid) -> None:
        self.name, self.target, self._store = name, target, store
        self._found = store.campaign(name) if store is not None and name in store.campaigns else None

    @property
    def is_begun(self) -> bool:
        """Whether the campaign is there, and made to reach that far."""
        return self._found is not None and self._found.grid.covers(self.target)

    @property
    def is_sealed(self) -> bool:
        return self.is_begun and self._found is not None and self._found.is_sealed

    @property
    def missing(self) -> list[str]:
        """Ids of the blocks that are to be written."""
        if self._store is None or self._found is None:
            return [block.id for block in self.target.blocks()]
        own = [block.id for block in self._store.missing_blocks(self.name)]
        known = {block.id for block in self._found.grid.blocks()}
        return own + [block.id for block in self.target.blocks() if block.id not in known]


def config_of(environment: Mapping[str, str]) -> RunConfig:
    """The config that a run's tasks were submitted with."""
    return saved_config(Path(environment[CONFIG_VARIABLE]))


def _blocks_todo(campaigns: Iterable[_Pass], *, prefixed: bool) -> Todo:
    total, missing, sealed = 0, [], True
    for campaign in campaigns:
        prefix = f"{campaign.name}{SEPARATOR}" if prefixed else ""
        ids = campaign.missing
        total += campaign.target.num_blocks
        missing += [prefix + block_id for block_id in ids]
        sealed = sealed and not ids and campaign.is_sealed
    return Todo(total=total, missing=tuple(missing), is_finished=sealed)


def _seal(config: RunConfig, campaigns: Iterable[str]) -> dict[str, Any]:
    """Seal campaigns; damaged blocks are withdrawn by that, are missing again, and are told of."""
    damaged: list[str] = []
    for campaign in campaigns:
        if not open_store(config.store.path).campaign(campaign).is_sealed:
            try:
                seal(config.store.path, campaign)
            except DamagedFile as error:
                damaged.append(str(error))
    return {"damaged": damaged}
