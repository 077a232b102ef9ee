"""A run as its config and its store have it: how far each campaign shall reach, and which blocks are missing."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from fdbpl.cache_layout.blocks import BlockGrid
from fdbpl.cache_layout.store import Store, open_store
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.data.exclusions import run_data
from fdbpl.pipeline.data.labelled import labelled
from fdbpl.pipeline.datasets.data_set import DataSet, Split
from fdbpl.pipeline.labels.feature_names import feature_campaigns
from fdbpl.pipeline.labels.grid import grown_grid, new_grid, new_paths
from fdbpl.pipeline.labels.manifest import CAMPAIGN
from fdbpl.pipeline.run_folder import saved_config

# Names the config that a run's tasks were submitted with.
CONFIG_VARIABLE = "FDBPL_CONFIG"
# Set where the run adds to a store what it lacks.
GROW_VARIABLE = "FDBPL_GROW"


class RunState:
    """A run as its config and its store have it."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.config = config_of(environment)
        self.grows = GROW_VARIABLE in environment

    @cached_property
    def data(self) -> DataSet:
        return run_data(self.config)

    @cached_property
    def labelled(self) -> Split:
        """The training images that the store shall hold."""
        return labelled(self.config, self.data)

    @cached_property
    def store(self) -> Store | None:
        return open_store(self.config.store.path) if self.config.store.path.exists() else None

    @property
    def is_prepared(self) -> bool:
        if self.store is None or not self.grows:
            return self.store is not None
        from fdbpl.pipeline.labels.grow import wanting

        return not wanting(self.store, self.config, self.data)

    @cached_property
    def teacher_grid(self) -> BlockGrid:
        """How far the teacher's labels shall reach."""
        if self.store is None:
            return new_grid(self.config, len(self.labelled))
        if self.grows:
            return grown_grid(self.store, self.config, len(new_paths(self.store, self.labelled.paths)) or None)
        return self.store.campaign(CAMPAIGN).grid

    @property
    def teacher_pass(self) -> "Pass":
        return Pass(self.store, CAMPAIGN, self.teacher_grid)

    @property
    def feature_passes(self) -> "list[Pass]":
        """Of each student encoder whose features are stored; over the same views as the teacher's."""
        return [Pass(self.store, name, self.teacher_grid) for name in feature_campaigns(self.config)]


class Pass:
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
