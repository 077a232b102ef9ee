"""From a student's plan to its saved prompts: puts the ingredients together, trains, writes the record last."""

import json
import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fdbpl.cache_layout.reader import Reader, open_reader
from fdbpl.pipeline.checkpoint import prompts_digest, read_prompts, save_prompts, start_from
from fdbpl.pipeline.clip.backbone import Backbone, load_backbone
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.data import TrainingSet, training_set
from fdbpl.pipeline.datasets.data_set import DataSet
from fdbpl.pipeline.device import choose_device, decoder_name
from fdbpl.pipeline.exclusions import check_excluded, run_data
from fdbpl.pipeline.feature_names import feature_array
from fdbpl.pipeline.features import check_stored_features
from fdbpl.pipeline.kept_subset import keep_subset
from fdbpl.pipeline.labels_manifest import CAMPAIGN as TEACHER
from fdbpl.pipeline.labels_manifest import expected_fields
from fdbpl.pipeline.loading.decoder import UnreadableImage, UnreadableImages, kept_decoder
from fdbpl.pipeline.replay import replay_decoder
from fdbpl.pipeline.run_folder import RunFolder, StudentFolder
from fdbpl.pipeline.scan_run import scan_run
from fdbpl.pipeline.staged_store import store_to_read
from fdbpl.pipeline.student_record import finished_record, identity_digest, student_identity
from fdbpl.pipeline.students import StudentPlan
from fdbpl.pipeline.supervision import HardLabels, OnlineTeacher, StoredTeacher, Supervision
from fdbpl.pipeline.teach import image_root
from fdbpl.pipeline.train import Ingredients, TrainingLog, train
from fdbpl.pipeline.views import LiveFeatures, StoredFeatures, ViewSource
from fdbpl.pipeline.whole_file import replace_file, replace_json
from fdbpl.pipeline.windows import ComputedWindows, Pixels, StoredWindows

logger = logging.getLogger(__name__)
# Which images are left out is told by a store alone.
_NO_STORE = "mend or remove them, or let `fdbpl teach CONFIG` make the store, which excludes them"


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
    keep_subset(config, data, plan.config.shots, plan.seed)
    source = _source_prompts(config, plan.source, data, wanted_by=plan) if plan.source is not None else None
    store = config.store.model_copy(update={"path": store_to_read(config, plan)})
    here = config.model_copy(update={"store": store})
    # A record vouches for the prompts beside it: it goes before they change.
    folder.record_file.unlink(missing_ok=True)
    with ExitStack() as stack:
        reader = stack.enter_context(open_store_for(here, plan, data)) if plan.needs_store else None
        ingredients = gather(config, plan, data, reader)
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
    facts = {**made_of, "config": config.model_dump(mode="json")}
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
    """The prompts of a finished student; its id and the digests of its identity and of them, for the records."""

    prompts: dict[str, Tensor]
    facts: dict[str, str]


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


def open_store_for(config: RunConfig, plan: StudentPlan, data: DataSet) -> Reader:
    """The store as this student needs it: sealed, made as the config says, with all of its images and seeds, and its
    features where it wants them. Errors as of `open_run_store` and `check_serves`."""
    reader = open_run_store(config)
    check_serves(reader, config, plan, data)
    return reader


def open_run_store(config: RunConfig) -> Reader:
    """The run's store, with the teacher's labels sealed and made as the config says. Raises CacheError."""
    return open_reader(config.store.path, expect=expected_fields(config), campaigns=(TEACHER,))


def check_serves(reader: Reader, config: RunConfig, plan: StudentPlan, data: DataSet) -> None:
    """Refuse a store without a student's images, seeds, or stored features, or that excludes images of a run which does
    not allow that. Raises ValueError, CacheError."""
    check_excluded(reader, config, data)
    numbers_M = store_numbers(reader, data, training_set(data, plan.config, plan.seed))
    if config.crops.seeds > reader.num_seeds:
        raise ValueError(
            f"crops.seeds: found {config.crops.seeds}, expected at most {reader.num_seeds}, the seeds that the "
            f"store at {config.store.path} holds: lower it, or add seeds by `fdbpl teach CONFIG --grow`"
        )
    if plan.config.features == "stored":
        check_stored_features(reader, plan.config, int(numbers_M.max()) + 1, config.crops.seeds)


def store_numbers(reader: Reader, data: DataSet, training: TrainingSet) -> np.ndarray:
    """The store's numbers of a student's training images, found by their paths: int64 [M].

    Raises:
        ValueError: images that the store does not have.
    """
    paths = [data.train.paths[image] for image in training.image_ids_M]
    numbers_M = reader.images.numbers_of(paths)
    missing = [paths[position] for position in np.flatnonzero(numbers_M < 0)]
    if missing:
        raise ValueError(
            f"found {len(missing)} of {len(paths)} training images that the store at {reader.path} does not hold "
            f"({', '.join(missing[:3])}), expected all: add them by `fdbpl teach CONFIG --grow`"
        )
    return numbers_M


def gather(config: RunConfig, plan: StudentPlan, data: DataSet, reader: Reader | None) -> Ingredients:
    """Learner, objective, supervision and source of views of one student."""
    device = choose_device(config.loading.device)
    section = plan.config
    backbone = load_backbone(section, device)
    training = training_set(data, section, plan.seed)
    if reader is not None:
        training = replace(training, image_ids_M=store_numbers(reader, data, training))
    pixels = None
    if section.features == "live" or plan.supervision == "online":
        pixels, training = _pixels(config, data, training, reader, device)
    return Ingredients(
        learner=plan.learner_options().build(backbone, training.class_names, dual=plan.make_objective().dual),
        objective=plan.make_objective(),
        supervision=_supervision(config, plan, training, reader, pixels, backbone),
        source=_source(plan, reader, pixels, backbone),
        training=training,
        num_seeds=config.crops.seeds,
    )


def _pixels(
    config: RunConfig, data: DataSet, training: TrainingSet, reader: Reader | None, device: str
) -> tuple[Pixels, TrainingSet]:
    """Pixels of the training images: by the store's windows, or by the policy where there is no store."""
    if reader is not None:
        decoder = replay_decoder(config, reader.manifest.fields["decoder"], device)
        return Pixels(decoder, image_root(config), reader.images, StoredWindows(reader)), training
    # Without a store only the student's own images are scanned, so they are numbered among themselves.
    paths = [data.train.paths[image] for image in training.image_ids_M]
    numbers_M = training.image_ids_M
    try:
        advice = _NO_STORE if config.data.bad_images == "exclude" else ""
        images = scan_run(config, paths, training.labels_M.tolist(), digests=True, bad_images="error", advice=advice)
    except UnreadableImages as error:
        bad = [UnreadableImage(int(numbers_M[one.index]), one.path, one.reason) for one in error.images]
        raise UnreadableImages(bad, error.num_images, error.advice, error.more) from error
    windows = ComputedWindows(config.crops.policy(1), images)
    decoder = kept_decoder(decoder_name(config), device)
    renumbered = replace(training, image_ids_M=np.arange(len(training)))
    return Pixels(decoder, image_root(config), images, windows, numbers_M), renumbered


def _supervision(
    config: RunConfig,
    plan: StudentPlan,
    training: TrainingSet,
    reader: Reader | None,
    pixels: Pixels | None,
    backbone: Backbone,
) -> Supervision:
    if plan.supervision == "hard":
        return HardLabels()
    if plan.supervision == "cached":
        assert reader is not None
        return StoredTeacher(reader, training.class_names, backbone.device)
    assert pixels is not None
    teacher = load_backbone(config.teacher, backbone.device.type)
    return OnlineTeacher(teacher, pixels, training.class_names, config.teacher.templates)


def _source(plan: StudentPlan, reader: Reader | None, pixels: Pixels | None, backbone: Backbone) -> ViewSource:
    if plan.config.features == "stored":
        assert reader is not None
        return StoredFeatures(reader, feature_array(plan.config), backbone.device)
    assert pixels is not None
    return LiveFeatures(backbone, pixels)


def _write_record(folder: StudentFolder, record: dict[str, Any], log: TrainingLog) -> None:
    """The metrics, then the record that says the student is finished; its training state is not needed any more."""
    lines = [json.dumps({"epoch": epoch, **means}) for epoch, means in enumerate(log.epochs)]
    replace_file(folder.metrics_file, ("\n".join(lines) + "\n").encode())
    replace_json(folder.record_file, record)
    folder.checkpoint_file.unlink(missing_ok=True)
