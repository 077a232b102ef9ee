"""A student's ingredients, put together from its plan: learner, objective, supervision, views."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from fdbpl.cache_layout.reader import Reader
from fdbpl.pipeline.clip.backbone import Backbone, load_backbone
from fdbpl.pipeline.clip.zero_shot import text_classifier
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.data.load import TrainingSet, training_set
from fdbpl.pipeline.data.scan_run import scan_run
from fdbpl.pipeline.datasets.data_set import DataSet
from fdbpl.pipeline.device import choose_device, decoder_name
from fdbpl.pipeline.labels.class_lists import Names, asked_names
from fdbpl.pipeline.labels.feature_names import feature_array
from fdbpl.pipeline.labels.replay import replay_decoder
from fdbpl.pipeline.labels.stored import stored_labels
from fdbpl.pipeline.labels.teach import image_root
from fdbpl.pipeline.learners.base import Learner, LearnerContext
from fdbpl.pipeline.loading.decoder import UnreadableImage, UnreadableImages, kept_decoder
from fdbpl.pipeline.loading.windows import ComputedWindows, Pixels, StoredWindows
from fdbpl.pipeline.objectives.kdpl import KdplClassAgnostic
from fdbpl.pipeline.students.plan import StudentPlan
from fdbpl.pipeline.training.ingredients import Ingredients
from fdbpl.pipeline.training.sampling import Sampler
from fdbpl.pipeline.training.student_store import store_numbers
from fdbpl.pipeline.training.supervision import HardLabels, LikeliestClasses, OnlineTeacher, StoredTeacher, Supervision
from fdbpl.pipeline.training.view_weights import view_weights
from fdbpl.pipeline.training.views import ViewSource

# Which images are left out is told by a store alone.
_NO_STORE = "mend or remove them, or let `fdbpl teach CONFIG` make the store, which excludes them"


def gather(config: RunConfig, plan: StudentPlan, data: DataSet, reader: Reader | None) -> Ingredients:
    """All of one student, on the device of its run. Raises what its parts refuse."""
    return gather_all(config, [plan], data, reader)[0]


def gather_all(
    config: RunConfig, plans: Sequence[StudentPlan], data: DataSet, reader: Reader | None
) -> list[Ingredients]:
    """The same of students who train together (`students.packs`): what all of them need is there once."""
    device = choose_device(config.loading.device)
    first = plans[0]
    backbone = replace(load_backbone(first.config, device), text_tower=first.config.text_tower)
    sets = [_training(data, plan, reader) for plan in plans]
    pixels = None
    if first.needs_pixels:
        assert len(plans) == 1, "whoever needs pixels trains alone"
        pixels, sets[0] = _pixels(config, data, sets[0], reader, device)
    asked = asked_names(config, first.config, sets[0].class_names)
    learners = [build_learner(config, plan, backbone, asked, reader) for plan in plans]
    stored = (reader, feature_array(first.config)) if reader is not None and first.stores_features else None
    supervision = _supervision(config, first, asked, reader, pixels, backbone)
    source = ViewSource(backbone, learners[0].needs, stored=stored, pixels=pixels)
    weights = _ViewWeights(config, asked, reader)
    return [
        Ingredients(
            learner=learner,
            objective=plan.make_objective(),
            supervision=supervision,
            source=source,
            training=training,
            sampler=Sampler(
                policy=plan.config.views,
                num_images=len(training),
                num_seeds=config.crops.seeds,
                num_epochs=plan.config.epochs,
                seed=plan.seed,
                weights_MS=weights.of(training) if plan.weighs_views else None,
                importance=plan.config.importance,
            ),
        )
        for plan, training, learner in zip(plans, sets, learners, strict=True)
    ]


def _training(data: DataSet, plan: StudentPlan, reader: Reader | None) -> TrainingSet:
    """A student's images, numbered as the store does where there is one."""
    training = training_set(data, plan)
    return training if reader is None else replace(training, image_ids_M=store_numbers(reader, data, training))


def build_learner(
    config: RunConfig, plan: StudentPlan, backbone: Backbone, asked: Names, reader: Reader | None
) -> Learner:
    """A student's learner as it begins, over these names. Raises ValueError where it cannot be.

    Args:
        asked: the classes, and the prompts by which the teacher knows them.
        reader: of the run's store, where there is one: what it holds of the teacher needs no teacher.
    """
    context = LearnerContext(
        backbone=backbone,
        class_names=asked.class_names,
        dual=plan.make_objective().dual,
        seed=plan.seed,
        template=config.data.template,
        teacher_texts=_teacher_texts(config, asked.templates, backbone.device, reader),
    )
    return plan.learner_options().build(context)


def _teacher_texts(
    config: RunConfig, templates: Sequence[str], device: torch.device, reader: Reader | None
) -> Callable[[Sequence[str]], Tensor]:
    """The teacher's text features of class names by these prompts: from a class list of the store that has them, else
    by the teacher, which is loaded."""

    def texts(class_names: Sequence[str]) -> Tensor:
        for known in map(reader.class_list, reader.class_lists) if reader is not None else ():
            rows = {name: row for row, name in enumerate(known.class_names)}
            if known.templates == tuple(templates) and all(name in rows for name in class_names):
                return torch.from_numpy(known.text_embedding_CD[[rows[name] for name in class_names]]).to(device)
        return text_classifier(load_backbone(config.teacher, device.type), class_names, templates)

    return texts


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
    asked: Names,
    reader: Reader | None,
    pixels: Pixels | None,
    backbone: Backbone,
) -> Supervision:
    supervision: Supervision
    if plan.supervision == "hard":
        return HardLabels()
    if plan.supervision == "cached":
        assert reader is not None
        supervision = StoredTeacher(stored_labels(reader, asked.class_names, asked.templates), backbone.device)
    else:
        assert pixels is not None
        teacher = load_backbone(config.teacher, backbone.device.type)
        supervision = OnlineTeacher(teacher, pixels, asked.class_names, asked.templates)
    objective = plan.make_objective()
    if isinstance(objective, KdplClassAgnostic):
        return LikeliestClasses(supervision, objective.most_classes)
    return supervision


class _ViewWeights:
    """The teacher's weight 1 - H/log C of every stored crop of training images, over the names that are taught.
    Students of the same images share one table: of a large data set it is large, and costs a pass over its labels."""

    def __init__(self, config: RunConfig, asked: Names, reader: Reader | None) -> None:
        self._num_seeds, self._asked, self._reader = config.crops.seeds, asked, reader
        self._found: list[tuple[np.ndarray, np.ndarray]] = []

    def of(self, training: TrainingSet) -> np.ndarray:
        """float32 [M, S]."""
        for images_M, weights_MS in self._found:
            if np.array_equal(images_M, training.image_ids_M):
                return weights_MS
        assert self._reader is not None, "a student that weighs its views needs the store"
        labels = stored_labels(self._reader, self._asked.class_names, self._asked.templates)
        weights_MS = view_weights(labels, training.image_ids_M, self._num_seeds)
        self._found.append((training.image_ids_M, weights_MS))
        return weights_MS
