"""All numbers of a run: of hand-written prompts on teacher and student, and of every trained student, test by test.

The harmonic mean of a method is that of its mean base and mean new accuracy, as the field reports it.
"""

import json
import statistics
from collections.abc import Callable, Sequence
from typing import Any

from fdbpl.pipeline.clip.backbone import load_backbone
from fdbpl.pipeline.clip.zero_shot import text_classifier
from fdbpl.pipeline.config import DataConfig, ModelConfig, RunConfig
from fdbpl.pipeline.data.exclusions import without_excluded
from fdbpl.pipeline.data.load import DataSets
from fdbpl.pipeline.device import device_here
from fdbpl.pipeline.evaluation.protocol import columns, summed_up, tests_of
from fdbpl.pipeline.evaluation.record import TestsIdentity, excluded_tests
from fdbpl.pipeline.evaluation.student_tests import TrainedLearners, measure
from fdbpl.pipeline.evaluation.test_sets import TestSets
from fdbpl.pipeline.own_code import plain_name
from fdbpl.pipeline.run_folder import RunFolder
from fdbpl.pipeline.students.checked import student_plans
from fdbpl.pipeline.students.plan import StudentPlan
from fdbpl.pipeline.training.student_record import finished_records
from fdbpl.pipeline.weights import model_key

Templates = Callable[[DataConfig], tuple[str, ...]]


def evaluate(config: RunConfig) -> dict[str, Any]:
    """All results of a run, as JSON: zero-shot rows, each finished student, and the summary of each method.

    Raises:
        ValueError: the test images' features are not there (`missing_features` tells which).
    """
    data_sets = DataSets()
    with TrainedLearners(config, device_here(config), data_sets) as learners:
        return _evaluated(config, learners, data_sets)


def _evaluated(config: RunConfig, learners: TrainedLearners, data_sets: DataSets) -> dict[str, Any]:
    data = without_excluded(config, data_sets.of(config.data))
    kept: dict[str, TestSets] = {}

    def sets(model: ModelConfig) -> TestSets:
        key = model_key(model)
        kept[key] = kept[key] if key in kept else TestSets(config, model, data_sets)
        return kept[key]

    plans = student_plans(config)
    identities = TestsIdentity(config, data_sets)

    def measured(plan: StudentPlan) -> dict[str, Any]:
        """What a student's own task has kept, or what is found now."""
        path = RunFolder(config.folder).student(plan.id).tests_file
        if path.exists():
            found: dict[str, Any] = json.loads(path.read_text())
            if found["identity"] == identities.of(plan):
                return found
        return measure(learners.of(plan), sets(plan.config), reject=config.evaluate.reject)

    rows = _zero_shot_rows(config, plans, sets)
    students, unfinished = [], []
    records = finished_records(config, plans, data)
    for plan in plans:
        record = records[plan.id]
        if record is None:
            unfinished.append(plan.id)
        else:
            students.append(_student_row(config, plan, measured(plan), record))
    excluded = {name: excluded_tests(config, name) for name in dict.fromkeys(t.data.name for t in tests_of(config))}
    return {
        "data": config.data.name,
        "protocol": config.evaluate.protocol,
        "columns": list(columns(config)),
        "test_images": sum(len(one.positions_N) for one in _by_data(sets(config.teacher))),
        "test_images_excluded": [
            {"path": path, "reason": reason} for found in excluded.values() for path, reason in found.items()
        ],
        "train_images_excluded": len(data.excluded),
        "zero_shot": rows,
        "students": students,
        "methods": [summary(config, students, method) for method in dict.fromkeys(plan.method for plan in plans)],
        "unfinished": unfinished,
    }


def summary(config: RunConfig, students: Sequence[dict[str, Any]], method: str) -> dict[str, Any]:
    """Mean and sample standard deviation over the seeds of one method, of each column."""
    own = [student for student in students if student["method"] == method]
    result: dict[str, Any] = {"method": method, "num_seeds": len(own)}
    if not own:
        return result
    for key in columns(config):
        values = [student[key] for student in own]
        result[key] = round(statistics.fmean(values), 2)
        result[f"{key}_sd"] = round(statistics.stdev(values), 2) if len(values) > 1 else None
    if "hm" in result:
        result["hm"] = round(statistics.harmonic_mean([result["base"], result["new"]]), 2)
    for score in own[0].get("rejection", {}):
        result.setdefault("rejection", {})[score] = {
            name: round(statistics.fmean(student["rejection"][score][name] for student in own), 2)
            for name in ("auroc", "fpr95")
        }
    result["train_seconds"] = round(statistics.fmean(student["train_seconds"] for student in own), 2)
    return result


def _student_row(config: RunConfig, plan: StudentPlan, found: dict[str, Any], record: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": plan.id,
        "method": plan.method,
        "learner": plain_name(plan.learner),
        "objective": plain_name(plan.objective),
        "supervision": plan.supervision,
        "shots": plan.shots,
        "seed": plan.seed,
        **_rounded(summed_up(config, found["accuracy"])),
        **({"rejection": found["rejection"]} if "rejection" in found else {}),
        "train_seconds": record["train_seconds"],
    }


def _zero_shot_rows(
    config: RunConfig, plans: Sequence[StudentPlan], sets: Callable[[ModelConfig], TestSets]
) -> dict[str, dict[str, Any]]:
    """Teacher and students by hand-written prompts, and by the prompts from which the students start."""

    def written(data: DataConfig) -> tuple[str, ...]:
        return (data.template,)

    wanted: dict[str, tuple[ModelConfig, Templates]] = {"teacher": (config.teacher, written)}
    if config.teacher.templates != written(config.data):
        wanted["teacher_labels"] = (config.teacher, lambda data: config.teacher.templates)
    several = len({model_key(table) for table in config.student}) > 1
    for plan in plans:
        suffix = f" {model_key(plan.config)}" if several else ""
        wanted.setdefault(f"student{suffix}", (plan.config, written))
        start = plan.learner_options().start_template(config.data.template)
        if start is None or start == config.data.template:
            continue
        role = f"student_start{suffix}"
        if role in wanted and wanted[role][1](config.data) != (start,):
            role += f" {start}"  # another prompt to start from has a row of its own
        wanted.setdefault(role, (plan.config, lambda data, start=start: (start,)))  # type: ignore[misc]
    rows = {}
    for role, (model, templates) in wanted.items():
        backbone = load_backbone(model, device_here(config))
        found = sets(model).by_text(
            lambda one, backbone=backbone, templates=templates: text_classifier(  # type: ignore[misc]
                backbone, one.class_names, templates(one.config.data)
            )
        )
        told = " | ".join(templates(config.data))
        rows[role] = {"template": told, **_rounded(summed_up(config, found))}
    return rows


def _by_data(sets: TestSets) -> list[Any]:
    """One set of each data set."""
    return list({one.test.data.name: one for one in sets.sets}.values())


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 2) for name, value in values.items()}
