"""Base-to-new accuracy: of hand-written prompts on teacher and student, and of every trained student.

Base images are told apart among the base names, new images among the new names. The harmonic mean of a method is
that of its mean base and mean new accuracy, as the field reports it.
"""

import statistics
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fdbpl.pipeline.checkpoint import load_into, read_prompts
from fdbpl.pipeline.clip.backbone import Backbone, load_backbone
from fdbpl.pipeline.clip.zero_shot import accuracy, harmonic_mean, text_classifier
from fdbpl.pipeline.config import ModelConfig, RunConfig
from fdbpl.pipeline.data import training_set
from fdbpl.pipeline.datasets.data_set import DataSet
from fdbpl.pipeline.datasets.few_shot import base_and_new
from fdbpl.pipeline.device import device_here
from fdbpl.pipeline.evaluation_features import read_test_features
from fdbpl.pipeline.evaluation_record import excluded_tests
from fdbpl.pipeline.exclusions import run_data
from fdbpl.pipeline.ingredients import build_learner
from fdbpl.pipeline.learners.base import Learner
from fdbpl.pipeline.run_folder import RunFolder
from fdbpl.pipeline.student_plan import StudentPlan
from fdbpl.pipeline.student_record import finished_records
from fdbpl.pipeline.students import student_plans
from fdbpl.pipeline.weights import model_key


@dataclass(frozen=True, kw_only=True)
class BaseToNew:
    """Accuracies in percent."""

    base: float
    new: float

    @property
    def hm(self) -> float:
        return harmonic_mean(self.base, self.new)

    def to_json(self) -> dict[str, float]:
        return {"base": round(self.base, 2), "new": round(self.new, 2), "hm": round(self.hm, 2)}


class Bench:
    """The test images of a run under one model, split into the base and the new half, without those that are excluded
    under any model: all are measured on the same images."""

    def __init__(self, config: RunConfig, data: DataSet, model: ModelConfig, excluded: Collection[str] = ()) -> None:
        found = read_test_features(config, data, model)
        assert found is not None
        is_in_N = torch.tensor([data.test.paths[image] not in excluded for image in found.images_N.tolist()])
        features_ND = found.features_ND[is_in_N]
        labels_N = torch.from_numpy(np.asarray(data.test.labels, dtype=np.int64))[found.images_N[is_in_N]]
        base, new = base_and_new(len(data.class_names))
        self.backbone = load_backbone(model, device_here(config))
        self._halves = [
            (
                data.class_names[half.start : half.stop],
                features_ND[self._inside(labels_N, half)],
                labels_N[self._inside(labels_N, half)] - half.start,
            )
            for half in (base, new)
        ]
        if not all(len(labels) for _, _, labels in self._halves):
            raise ValueError(
                f"{data.name}: found no test image of the base or of the new classes ({len(excluded)} cannot be read "
                "and are excluded), expected some of both: mend them"
            )

    @staticmethod
    def _inside(labels_N: Tensor, half: range) -> Tensor:
        return (labels_N >= half.start) & (labels_N < half.stop)

    def of_template(self, templates: tuple[str, ...]) -> BaseToNew:
        return self._measure(lambda names: text_classifier(self.backbone, names, templates))

    def of_learner(self, learner: Learner) -> BaseToNew:
        return self._measure(lambda names: learner.classifier(names)["positive"])

    def _measure(self, classifier_of: Any) -> BaseToNew:
        base, new = (accuracy(features, classifier_of(names).cpu(), labels) for names, features, labels in self._halves)
        return BaseToNew(base=base, new=new)


def evaluate(config: RunConfig) -> dict[str, Any]:
    """All results of a run, as JSON: zero-shot rows, each finished student, and the summary of each method.

    The test features must be there (`missing_features` tells which are not).
    """
    data = run_data(config)
    excluded = excluded_tests(config)
    benches: dict[str, Bench] = {}

    def bench(model: ModelConfig) -> Bench:
        key = model_key(model)
        if key not in benches:
            benches[key] = Bench(config, data, model, excluded)
        return benches[key]

    plans = student_plans(config)
    rows = _zero_shot_rows(config, plans, bench)
    students, unfinished = [], []
    records = finished_records(config, plans, data)
    for plan in plans:
        record = records[plan.id]
        if record is None:
            unfinished.append(plan.id)
            continue
        prompts, _ = read_prompts(RunFolder(config.folder).student(plan.id).prompts_file)
        result = bench(plan.config).of_learner(_learner(config, data, plan, prompts, bench(plan.config).backbone))
        students.append(
            {
                "id": plan.id,
                "method": plan.method,
                "learner": plan.learner,
                "objective": plan.objective,
                "supervision": plan.supervision,
                "seed": plan.seed,
                **result.to_json(),
                "train_seconds": record["train_seconds"],
            }
        )
    return {
        "data": config.data.name,
        "test_images": len(data.test) - len(excluded),
        "test_images_excluded": [{"path": path, "reason": reason} for path, reason in excluded.items()],
        "train_images_excluded": len(data.excluded),
        "zero_shot": {row["role"]: {k: row[k] for k in ("template", "base", "new", "hm")} for row in rows},
        "students": students,
        "methods": [summary(students, method) for method in dict.fromkeys(plan.method for plan in plans)],
        "unfinished": unfinished,
    }


def summary(students: list[dict[str, Any]], method: str) -> dict[str, Any]:
    """Mean and sample standard deviation over the seeds of one method."""
    own = [student for student in students if student["method"] == method]
    result: dict[str, Any] = {"method": method, "num_seeds": len(own)}
    if not own:
        return result
    for key in ("base", "new", "hm"):
        values = [student[key] for student in own]
        result[f"{key}_sd"] = round(statistics.stdev(values), 2) if len(values) > 1 else None
        result[key] = round(statistics.fmean(values), 2)
    result["hm"] = round(harmonic_mean(result["base"], result["new"]), 2)
    result["train_seconds"] = round(statistics.fmean(student["train_seconds"] for student in own), 2)
    return result


def _zero_shot_rows(config: RunConfig, plans: list[StudentPlan], bench: Any) -> list[dict[str, Any]]:
    """Teacher and students by hand-written prompts, and by the prompts from which the students start."""
    written = (config.data.template,)
    wanted: dict[str, tuple[ModelConfig, tuple[str, ...]]] = {"teacher": (config.teacher, written)}
    if config.teacher.templates != written:
        wanted["teacher_labels"] = (config.teacher, config.teacher.templates)
    several = len({model_key(table) for table in config.student}) > 1
    for plan in plans:
        suffix = f" {model_key(plan.config)}" if several else ""
        start = plan.learner_options().start_template(config.data.template)
        wanted.setdefault(f"student{suffix}", (plan.config, written))
        if start is None:
            continue
        role = f"student_start{suffix}"
        if wanted.get(role, (plan.config, (start,)))[1] != (start,):
            role += f" {start}"  # another prompt to start from has a row of its own
        wanted.setdefault(role, (plan.config, (start,)))
    return [
        {"role": role, "template": " | ".join(templates), **bench(section).of_template(templates).to_json()}
        for role, (section, templates) in wanted.items()
    ]


def _learner(
    config: RunConfig, data: DataSet, plan: StudentPlan, prompts: dict[str, Tensor], backbone: Backbone
) -> Learner:
    learner = build_learner(config, plan, backbone, training_set(data, plan).class_names, None)
    load_into(learner, prompts)
    return learner.eval()
