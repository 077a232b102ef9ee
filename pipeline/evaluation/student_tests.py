"""What a trained student reaches on each test of its run.

Where its image encoder is frozen this is a matrix product for all images. A learner that changes the image encoder, or
whose texts depend on the image, runs an encoder for each; its tests are a task of their own, and are kept.
"""

from collections.abc import Callable
from contextlib import ExitStack
from functools import cached_property
from typing import Any, Self

import torch
from torch import Tensor

from fdbpl.cache_layout.reader import Reader, open_reader
from fdbpl.pipeline.clip.backbone import load_backbone
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.data.exclusions import without_excluded
from fdbpl.pipeline.data.load import DataSets, training_set
from fdbpl.pipeline.datasets.data_set import DataSet
from fdbpl.pipeline.device import choose_device
from fdbpl.pipeline.evaluation.record import TestsIdentity
from fdbpl.pipeline.evaluation.rejection import rejection, scores
from fdbpl.pipeline.evaluation.test_sets import TestSet, TestSets
from fdbpl.pipeline.labels.class_lists import Names
from fdbpl.pipeline.labels.manifest import CAMPAIGN
from fdbpl.pipeline.learners.base import Learner
from fdbpl.pipeline.run_folder import RunFolder
from fdbpl.pipeline.students.plan import StudentPlan
from fdbpl.pipeline.training.checkpoint import load_into, read_prompts
from fdbpl.pipeline.training.gather import build_learner
from fdbpl.pipeline.whole_file import replace_json

OnProgress = Callable[[int, int], None]


def write_student_tests(config: RunConfig, plan: StudentPlan, on_progress: OnProgress) -> int:
    """Test a student and keep what it reaches; the number of images."""
    data_sets = DataSets()
    sets = TestSets(config, plan.config, data_sets)
    with TrainedLearners(config, choose_device(config.loading.device), data_sets) as learners:
        found = measure(learners.of(plan), sets, reject=config.evaluate.reject, on_progress=on_progress)
    identity = TestsIdentity(config, data_sets).of(plan)
    replace_json(RunFolder(config.folder).student(plan.id).tests_file, {**found, "identity": identity})
    return sum(int((one.labels_N >= 0).sum()) for one in sets.sets)


class TrainedLearners:
    """The learners of a run's finished students, as they are used, within `with`; data set and store are opened once
    for all."""

    def __init__(self, config: RunConfig, device: str, data_sets: DataSets | None = None) -> None:
        self._config, self._device = config, device
        self._data_sets = data_sets or DataSets()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def of(self, plan: StudentPlan) -> Learner:
        """That student's, with its prompts."""
        config = self._config
        prompts, _ = read_prompts(RunFolder(config.folder).student(plan.id).prompts_file)
        names = Names(class_names=training_set(self._data, plan).class_names, templates=config.teacher.templates)
        learner = build_learner(config, plan, load_backbone(plan.config, self._device), names, self._reader)
        load_into(learner, prompts)
        return learner.eval()

    @cached_property
    def _data(self) -> DataSet:
        return without_excluded(self._config, self._data_sets.of(self._config.data))

    @cached_property
    def _reader(self) -> Reader | None:
        """The store, for the teacher's text features that it holds, where there is one."""
        if not self._config.store.path.exists():
            return None
        return self._stack.enter_context(open_reader(self._config.store.path, campaigns=(CAMPAIGN,)))


@torch.no_grad()
def measure(learner: Learner, sets: TestSets, *, reject: bool, on_progress: OnProgress | None = None) -> dict[str, Any]:
    """What a learner reaches: {"accuracy": test -> percent, "rejection": score -> AUROC and FPR95}.

    Args:
        reject: measure too how well images of none of a test's classes are told from those of one; of the first test,
            where its data set has other classes.
        on_progress: called with images done and images in all.
    """
    rejects = reject and not bool((sets.sets[0].labels_N >= 0).all())
    unlisted = int((sets.sets[0].labels_N < 0).sum()) if rejects else 0
    total = unlisted + sum(int((one.labels_N >= 0).sum()) for one in sets.sets)
    done = 0

    def count(num_images: int) -> None:
        nonlocal done
        done += num_images
        if on_progress is not None:
            on_progress(done, total)

    accuracies: dict[str, float] = {}
    rejections: dict[str, dict[str, float]] = {}
    for number, one in enumerate(sets.sets):
        own_N = one.labels_N >= 0
        logits_NC, margins_NC = logits_of(learner, one, own_N, count)
        predicted_N = torch.full_like(one.labels_N, -1)
        predicted_N[own_N] = logits_NC.argmax(dim=-1)
        accuracies[one.test.name] = one.accuracy(predicted_N)
        if rejects and number == 0:
            listed = scores(logits_NC, margins_NC)
            others = scores(*logits_of(learner, one, ~own_N, count))
            rejections = {name: rejection(listed[name], others[name]) for name in listed}
    return {"accuracy": accuracies, **({"rejection": rejections} if reject else {})}


def logits_of(
    learner: Learner, one: TestSet, chosen_N: Tensor, count: Callable[[int], None]
) -> tuple[Tensor, Tensor | None]:
    """Logits [M, C] of the chosen images among the test's class names, and by how much positive prompts outweigh
    negative ones, on the CPU; `count` is called with the images of each batch that is done."""
    texts = learner.texts(one.class_names)
    logits, margins = [], []
    for views in one.views(learner, chosen_N):
        prediction = learner.predict(views, texts)
        logits.append(prediction.logits_BC.float().cpu())
        margin_BC = prediction.margins()
        if margin_BC is not None:
            margins.append(margin_BC.float().cpu())
        count(len(views.image_ids_B))
    return torch.cat(logits), torch.cat(margins) if margins else None
