"""What is missing of each step of a run, and what closes a step: asked of the results themselves.

Called where a run is planned or submitted, and by the small jobs that look after each step. All are functions of
(run folder, environment, step), as `slurm.chain.Step` names them. What imports torch is imported where it is used.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fdbpl.cache_layout.errors import DamagedFile
from fdbpl.cache_layout.seal import seal
from fdbpl.cache_layout.store import open_store
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.evaluation.record import missing_features, test_passes, untested_students
from fdbpl.pipeline.labels.manifest import CAMPAIGN
from fdbpl.pipeline.run.results import is_current
from fdbpl.pipeline.run.state import Pass, RunState
from fdbpl.pipeline.students.packs import pack_id, packs
from fdbpl.pipeline.students.plan import list_plans, stages
from fdbpl.pipeline.training.student_record import finished_records
from fdbpl.slurm.chain import Todo

# Joins a campaign and a block in one task id; neither holds the character.
SEPARATOR = "@"
STORE_TASK, REPORT_TASK = "store", "report"


def prepare(folder: Path, environment: Mapping[str, str], step: str) -> Todo:
    """The store's metadata: made, or grown, by one task."""
    is_there = RunState(environment).is_prepared
    return Todo(total=1, missing=() if is_there else (STORE_TASK,), is_finished=is_there)


def teach(folder: Path, environment: Mapping[str, str], step: str) -> Todo:
    """The teacher's blocks."""
    run = RunState(environment)
    return _blocks_todo([run.teacher_pass], prefixed=False)


def finish_teach(folder: Path, environment: Mapping[str, str], step: str) -> dict[str, Any]:
    return seal_campaigns(RunState(environment).config, [CAMPAIGN])


def teach_for_features(folder: Path, environment: Mapping[str, str], step: str) -> Todo:
    """As `teach`; finished once the campaigns of the students' features are begun as well."""
    run = RunState(environment)
    todo = teach(folder, environment, step)
    begun = all(campaign.is_begun for campaign in run.feature_passes)
    return Todo(total=todo.total, missing=todo.missing, is_finished=todo.is_finished and begun)


def finish_teach_for_features(folder: Path, environment: Mapping[str, str], step: str) -> dict[str, Any]:
    """Seal the teacher's labels, and begin the campaigns of features over all that is sealed."""
    from fdbpl.pipeline.labels.features import begin_features

    config = RunState(environment).config
    sealed = seal_campaigns(config, [CAMPAIGN])
    if sealed["damaged"]:
        return sealed
    return {**sealed, "begun": begin_features(config)}


def features(folder: Path, environment: Mapping[str, str], step: str) -> Todo:
    """The blocks of the students' features; those of the teacher's grid where a campaign is not begun yet."""
    return _blocks_todo(RunState(environment).feature_passes, prefixed=True)


def finish_features(folder: Path, environment: Mapping[str, str], step: str) -> dict[str, Any]:
    run = RunState(environment)
    return seal_campaigns(run.config, [campaign.name for campaign in run.feature_passes])


def test_features(folder: Path, environment: Mapping[str, str], step: str) -> Todo:
    """The test images' features under each model."""
    config = RunState(environment).config
    missing = tuple(missing_features(config))
    return Todo(total=len(test_passes(config)), missing=missing, is_finished=not missing)


def test_students(folder: Path, environment: Mapping[str, str], step: str) -> Todo:
    """What those students reach whose tests run an encoder for each image."""
    missing, total = untested_students(RunState(environment).config)
    return Todo(total=total, missing=tuple(missing), is_finished=not missing)


def train(folder: Path, environment: Mapping[str, str], step: str) -> Todo:
    """The students of one stage, in packs: `train-2` are those of the second."""
    run = RunState(environment)
    plans = stages(list_plans(run.config))[int(step.rpartition("-")[2]) - 1]
    records = finished_records(run.config, plans, run.data)
    wanted = packs(plans, run.config.cluster, len(run.data.class_names))
    missing = tuple(pack_id(pack) for pack in wanted if any(records[plan.id] is None for plan in pack))
    return Todo(total=len(wanted), missing=missing, is_finished=not missing)


def report(folder: Path, environment: Mapping[str, str], step: str) -> Todo:
    """The table of results, made of the students that are finished now."""
    is_there = is_current(RunState(environment).config)
    return Todo(total=1, missing=() if is_there else (REPORT_TASK,), is_finished=is_there)


def _blocks_todo(campaigns: Iterable[Pass], *, prefixed: bool) -> Todo:
    total, missing, sealed = 0, [], True
    for campaign in campaigns:
        prefix = f"{campaign.name}{SEPARATOR}" if prefixed else ""
        ids = campaign.missing
        total += campaign.target.num_blocks
        missing += [prefix + block_id for block_id in ids]
        sealed = sealed and not ids and campaign.is_sealed
    return Todo(total=total, missing=tuple(missing), is_finished=sealed)


def seal_campaigns(config: RunConfig, campaigns: Iterable[str]) -> dict[str, Any]:
    """Seal campaigns; damaged blocks are withdrawn by that, are missing again, and are told of."""
    damaged: list[str] = []
    for campaign in campaigns:
        if not open_store(config.store.path).campaign(campaign).is_sealed:
            try:
                seal(config.store.path, campaign)
            except DamagedFile as error:
                damaged.append(str(error))
    return {"damaged": damaged}
