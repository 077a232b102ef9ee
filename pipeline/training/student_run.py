"""From a student's plan to its saved prompts: puts the ingredients together, trains, writes the record last."""

import json
import logging
import time
from collections.abc import Callable
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
from fdbpl.pipeline.training.ingredients import gather
from fdbpl.pipeline.training.saved_learner import use_of
from fdbpl.pipeline.training.staged_store import store_to_read
from fdbpl.pipeline.training.student_record import finished_record, identity_digest, student_identity
from fdbpl.pipeline.training.student_store import open_store_for
from fdbpl.pipeline.training.train import TrainingLog, train
from fdbpl.pipeline.whole_file import replace_file, replace_json

logger = logging.getLogger(__name__)


def run_student(
    config: RunConfig, plan: StudentPlan, on_progress: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """Train one student, or tell of it where it is finished; its record. It reads the run's store, or a copy on the
    node's own disk (`store_to_read`).

    Raises:
        CacheError: a store that is not sealed, does not fit, or lacks the student's features.
        ValueError: the student that it starts from is not finished, classes that the store does not know, too few
            images, a wrong model.
    """
    folder = RunFolder(config.folder).student(plan.id)
    data = run_data(config)
    identity = student_identity(config, plan, data)
    record = finished_record(folder, identity)
    if record is not None:
        return record
    if len(data.excluded):
        num_images = len(data.train) + len(data.excluded)
        logger.warning("%d of %d training images are excluded: drawing from the rest", len(data.excluded), num_images)
    keep_subset(config, data, plan.shots, plan.seed)
    source = _source(config, plan, data)
    store = config.store.model_copy(update={"path": store_to_read(config, plan)})
    here = config.model_copy(update={"store": store})
    # A record vouches for the prompts beside it: it goes before they change.
    folder.record_file.unlink(missing_ok=True)
    with ExitStack() as stack:
        reader = stack.enter_context(open_store_for(here, plan, data)) if plan.needs_store else None
        ingredients = gather(config, plan, data, reader)
        if plan.config.prompts:
            shapes = shapes_of(ingredients.learner.state_dict())
            check_start_fits(plan, data, ingredients.learner.class_names, shapes)
        if source is not None:
            start_from(ingredients.learner, source.prompts)
        torch.manual_seed(plan.seed)
        log = train(
            ingredients,
            plan.config,
            seed=plan.seed,
            state_file=folder.checkpoint_file,
            identity=identity,
            on_progress=on_progress,
        )
        fingerprint = reader.manifest.fingerprint if reader is not None else None
    made_of = {
        "identity": identity,
        "fingerprint": fingerprint,
        "starts_from": source.facts if source is not None else None,
    }
    use = use_of(config, plan, ingredients.training.class_names)
    facts = {**made_of, "config": config.model_dump(mode="json"), USE: use.to_json()}
    save_prompts(folder.prompts_file, ingredients.learner, facts)
    views = log.steps * min(plan.config.batch_size, len(ingredients.training))
    record = {
        "student": plan.id,
        **made_of,
        "steps": log.steps,
        "views": views,
        "images_excluded": len(data.excluded),
        "train_seconds": round(log.seconds, 3),
        "final_loss": log.epochs[-1]["loss"],
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    _write_record(folder, record, log)
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
    lines = [json.dumps({"epoch": epoch, **means}) for epoch, means in enumerate(log.epochs)]
    replace_file(folder.metrics_file, ("\n".join(lines) + "\n").encode())
    replace_json(folder.record_file, record)
    folder.checkpoint_file.unlink(missing_ok=True)
