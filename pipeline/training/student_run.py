"""From students' plans to their saved prompts: puts the ingredients together, trains, writes each record last."""

import json
import logging
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.data.exclusions import run_data
from fdbpl.pipeline.data.kept_subset import keep_subset
from fdbpl.pipeline.datasets.data_set import DataSet
from fdbpl.pipeline.run_folder import RunFolder, StudentFolder
from fdbpl.pipeline.students.plan import StudentPlan
from fdbpl.pipeline.students.start_file import USE, check_start_file, check_start_fits
from fdbpl.pipeline.training.checkpoint import prompts_digest, read_prompts, save_prompts, shapes_of, start_from
from fdbpl.pipeline.training.gather import gather_all
from fdbpl.pipeline.training.metrics import lines_of, student_metrics
from fdbpl.pipeline.training.saved_learner import use_of
from fdbpl.pipeline.training.staged_store import store_to_read
from fdbpl.pipeline.training.student_record import Identities, finished_record, identity_digest, student_identity
from fdbpl.pipeline.training.student_store import open_store_for
from fdbpl.pipeline.training.train import train
from fdbpl.pipeline.training.trainee import OnProgress, Trainee, TrainingLog
from fdbpl.pipeline.whole_file import replace_file, replace_json

logger = logging.getLogger(__name__)


def run_student(config: RunConfig, plan: StudentPlan, on_progress: OnProgress | None = None) -> dict[str, Any]:
    """Train one student, or tell of it where it is finished; its record. Errors as of `run_students`."""
    return run_students(config, [plan], on_progress)[0]


def run_students(
    config: RunConfig, plans: Sequence[StudentPlan], on_progress: OnProgress | None = None
) -> list[dict[str, Any]]:
    """Train students as one program (`students.packs`) as far as they are not finished; their records. They read the
    run's store, or a copy on the node's own disk (`store_to_read`).

    Raises:
        CacheError: a store that is not sealed, does not fit, or lacks the students' features.
        ValueError: students that cannot begin, for what they start from is not finished or there are too few images;
            the others are finished. Or, of all of them, classes that the store does not know, a wrong model.
        FloatingPointError: students whose loss or prompts are not finite, by their ids; the others are finished.
    """
    data = run_data(config)
    identities = Identities(config, data)
    records = {
        plan.id: finished_record(RunFolder(config.folder).student(plan.id), identities.of(plan)) for plan in plans
    }
    wanted: list[_Wanted] = []
    refused: list[ValueError] = []
    for plan in plans:
        if records[plan.id] is None:
            try:
                wanted.append(_Wanted(config, plan, data, identities.of(plan)))
            except ValueError as error:
                refused.append(error)
    if wanted:
        if len(data.excluded):
            num_images = len(data.train) + len(data.excluded)
            line = "%d of %d training images are excluded: drawing from the rest"
            logger.warning(line, len(data.excluded), num_images)
        trained, failures = _trained(config, wanted, data, on_progress)
        records |= trained
        if failures and not refused:
            raise FloatingPointError("\n".join(failures))
        refused += map(ValueError, failures)
    if refused:
        raise refused[0] if len(refused) == 1 else ValueError("\n".join(map(str, refused)))
    return [record for record in records.values() if record is not None]


class _Wanted:
    """A student that is to be trained now. Raises ValueError where it cannot begin."""

    def __init__(self, config: RunConfig, plan: StudentPlan, data: DataSet, identity: dict[str, Any]) -> None:
        self.plan, self.identity = plan, identity
        self.folder = RunFolder(config.folder).student(plan.id)
        keep_subset(config, data, plan.shots, plan.seed)
        self.source = _source(config, plan, data)


def _trained(
    config: RunConfig, wanted: Sequence[_Wanted], data: DataSet, on_progress: OnProgress | None
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Records of students that train together, by their ids; and of which there is none, and why. Where the device has
    no memory for so many, each half trains by itself, from the states that are kept."""
    try:
        return _trained_together(config, wanted, data, on_progress)
    except torch.cuda.OutOfMemoryError:
        if len(wanted) == 1:
            raise
    # Outside of `except`: the error holds on to all that it found in memory.
    torch.cuda.empty_cache()
    logger.warning("the device has no memory for %d students together: each half trains by itself", len(wanted))
    halves = [_trained(config, half, data, on_progress) for half in (wanted[::2], wanted[1::2])]
    return {name: record for records, _ in halves for name, record in records.items()}, halves[0][1] + halves[1][1]


def _trained_together(
    config: RunConfig, wanted: Sequence[_Wanted], data: DataSet, on_progress: OnProgress | None
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    plans = [one.plan for one in wanted]
    store = config.store.model_copy(update={"path": store_to_read(config, plans[0])})
    here = config.model_copy(update={"store": store})
    for one in wanted:
        # A record vouches for the prompts beside it: it goes before they change.
        one.folder.record_file.unlink(missing_ok=True)
    with ExitStack() as stack:
        reader = stack.enter_context(open_store_for(here, plans, data)) if plans[0].needs_store else None
        trainees = []
        for one, ingredients in zip(wanted, gather_all(config, plans, data, reader), strict=True):
            learner = ingredients.learner
            if one.plan.config.prompts:
                check_start_fits(one.plan, data, learner.class_names, shapes_of(learner.state_dict()))
            if one.source is not None:
                start_from(learner, one.source.prompts)
            metrics = student_metrics(config, one.plan.id)
            stack.callback(metrics.close)
            trainees.append(
                Trainee(
                    ingredients=ingredients,
                    config=one.plan.config,
                    state_file=one.folder.checkpoint_file,
                    identity=one.identity,
                    metrics=metrics,
                )
            )
        # For a learner that draws while it trains; such a one trains alone.
        torch.manual_seed(plans[0].seed)
        train(trainees, on_progress)
        fingerprint = reader.manifest.fingerprint if reader is not None else None
    ended = list(zip(wanted, trainees, strict=True))
    records = {
        one.plan.id: _keep(config, one, trainee, data, fingerprint) for one, trainee in ended if not trainee.failure
    }
    return records, [f"student {one.plan.id}: {trainee.failure}" for one, trainee in ended if trainee.failure]


def _keep(config: RunConfig, one: _Wanted, trainee: Trainee, data: DataSet, fingerprint: str | None) -> dict[str, Any]:
    """Write a student's prompts, then its record."""
    plan, ingredients, log = one.plan, trainee.ingredients, trainee.log
    made_of = {
        "identity": one.identity,
        "fingerprint": fingerprint,
        "starts_from": one.source.facts if one.source is not None else None,
    }
    use = use_of(config, plan, ingredients.training.class_names)
    facts = {**made_of, "config": config.model_dump(mode="json"), USE: use.to_json()}
    save_prompts(one.folder.prompts_file, ingredients.learner, facts)
    record = {
        "student": plan.id,
        **made_of,
        "steps": log.steps,
        "views": log.steps * min(plan.config.batch_size, len(ingredients.training)),
        "images_excluded": len(data.excluded),
        "train_seconds": round(log.seconds, 3),
        "final_loss": log.epochs[-1]["loss"],
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    _write_record(one.folder, record, log)
    return record


@dataclass(frozen=True)
class Source:
    """Prompts to begin with; for the records their digest and, where a student learned them, its id and the digest of
    its identity."""

    prompts: dict[str, Tensor]
    facts: dict[str, str]


def _source(config: RunConfig, plan: StudentPlan, data: DataSet) -> Source | None:
    """What a student begins with in place of hand-written words: another's prompts, or a file's. Raises ValueError."""
    if plan.config.prompts:
        check_start_file(plan)
        prompts, _ = read_prompts(Path(plan.config.prompts))
        return Source(prompts, {"prompts": prompts_digest(prompts)})
    return _source_prompts(config, plan.source, data, wanted_by=plan) if plan.source is not None else None


def _source_prompts(config: RunConfig, source: StudentPlan, data: DataSet, *, wanted_by: StudentPlan) -> Source:
    """What a student starts from. Raises ValueError where that is not finished, or was made as it would not be now."""
    folder = RunFolder(config.folder).student(source.id)
    identity = student_identity(config, source, data)
    prompts: dict[str, Tensor] = {}
    facts: dict[str, Any] = {}
    if finished_record(folder, identity) is not None:
        prompts, facts = read_prompts(folder.prompts_file)
    # The prompts say themselves what they are: between the record and them another training may have ended.
    if facts.get("identity") != json.loads(json.dumps(identity)):
        found = "trained under another config" if folder.record_file.exists() else "not finished"
        raise ValueError(
            f"student {wanted_by.id} starts from {source.id}: found that one {found} ({folder.root}), expected it "
            f"finished as the config says now: run `fdbpl train CONFIG`, which trains {source.id} first"
        )
    return Source(
        prompts,
        {"student": source.id, "identity": identity_digest(identity), "prompts": prompts_digest(prompts)},
    )


def _write_record(folder: StudentFolder, record: dict[str, Any], log: TrainingLog) -> None:
    """The metrics, then the record that says the student is finished; its training state is not needed any more."""
    replace_file(folder.metrics_file, lines_of(log.epochs).encode())
    replace_json(folder.record_file, record)
    folder.checkpoint_file.unlink(missing_ok=True)
