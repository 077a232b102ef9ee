"""The results of a reproduction as one JSON value, and as files: put together from those of its runs.

Keys, all accuracies in percent and all differences in points:
    results     one entry a method, setting and pretrained student: means over its few-shot seeds; `sd` is that of HM
                over them, `paired_difference` the student's HM less what it reaches by the reference method, and
                `standard_error` that of the mean difference over all students of the setting
    summary     one entry a method and setting: means over students, and the paired difference with its standard error
    rejections  where it is measured: how well images of no listed class (`unlisted`) and crops without the object
                (`no_object`) are told from the others, AUROC by each method's own score, with paired differences
    pooled      for each method: HM and rejections less the reference's, the mean over all settings of each student
    zero_shot   hand-written prompts: each teacher by the right words, each student by them and by those it starts from
    regions     what the teacher's weight knows of what a crop shows, for each run
    replicated  what earlier studies saw repeatedly, and whether it shows here
"""

import statistics
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fdbpl.cache_layout.manifest import canonical_json, digest_of
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.reproduce.form import Form
from fdbpl.pipeline.reproduce.replicated import replicated
from fdbpl.pipeline.reproduce.rows import REFERENCE
from fdbpl.pipeline.reproduce.runs import Layout, Run, TableName, all_runs, run_config
from fdbpl.pipeline.reproduce.scores import Paired, Score, Setting, Trained, paired, pooled, sample_sd, scores_of
from fdbpl.pipeline.run.results import is_current as run_is_current
from fdbpl.pipeline.run.results import read_results as read_run_results
from fdbpl.pipeline.run.results import write_results as write_run_results
from fdbpl.pipeline.students.plan import list_plans
from fdbpl.pipeline.versions import code_revision, installed
from fdbpl.pipeline.weights import model_key
from fdbpl.pipeline.whole_file import replace_json
from fdbpl.slurm.json_files import read_json

PACKAGES = ("fdbpl", "torch", "open_clip_torch", "numpy", "pillow")


def is_current(form: Form, folder: Path) -> bool:
    """Whether results and report are there, and were made of what there is now."""
    configs = [run_config(form, folder, run) for run in all_runs(form)]
    found = read_results(folder).get("made_of")
    return (
        Layout(folder).report_file.exists()
        and all(map(run_is_current, configs))
        and found == _made_of(form, [read_run_results(config) for config in configs])
    )


def read_results(folder: Path) -> dict[str, Any]:
    """results.json, or an empty dict."""
    return read_json(Layout(folder).results_file) or {}


def write_results(form: Form, folder: Path) -> dict[str, Any]:
    """Evaluate every run, and write results.json, report.md and the plots."""
    from fdbpl.pipeline.evaluation.regions import region_weights
    from fdbpl.pipeline.reproduce.plots import write_plots
    from fdbpl.pipeline.reproduce.report import write_report

    found = {}
    regions = []
    for run in all_runs(form):
        config = run_config(form, folder, run)
        found[run] = read_run_results(config) if run_is_current(config) else write_run_results(config)
        told = region_weights(config.store.path, config.data.folder / "scenes.json")
        regions.append({"split": run.split, "crops": run.crops, "teacher": run.teacher, **told})
    scores = scores_of(one for run, results in found.items() for one in trained_of(form, folder, run, results))
    summary = summaries(form, scores)
    results = {
        "form": form.to_json(),
        "reference": REFERENCE,
        "results": student_rows(form, scores),
        "summary": summary,
        "rejections": list(_rejections(form, scores)),
        "pooled": list(_pooled(form, scores)),
        "zero_shot": list(_zero_shot(form, folder, found)),
        "regions": regions,
        "replicated": replicated(summary, regions),
        "test_images": max(one["test_images"] for one in found.values()),
        "versions": installed(PACKAGES),
        "code": code_revision(),
        "made_of": _made_of(form, found.values()),
    }
    layout = Layout(folder)
    write_plots(layout, results)
    write_report(layout.report_file, results)
    replace_json(layout.results_file, results)
    return results


def trained_of(form: Form, folder: Path, run: Run, results: dict[str, Any]) -> list[Trained]:
    """What a run's results.json says of each training, and what it rejects, where the form measures that."""
    scores = {row.name: row.score for row in form.rows}
    crops = _crop_rejections(run_config(form, folder, run)) if form.rejects else {}
    trained = []
    for one in results["students"]:
        name = TableName.of_id(one["id"])
        score = scores[name.row]
        rejects = {}
        if form.rejects:
            rejects = {"unlisted": one["rejection"][score]["auroc"], "no_object": crops[one["id"]][score]["auroc"]}
        trained.append(
            Trained(
                setting=Setting(split=run.split, crops=run.crops, teacher=run.teacher, shots=name.shots),
                row=name.row,
                student=int(name.student.removeprefix("student")),
                seed=one["seed"],
                **{key: one[key] for key in ("base", "new", "hm")},
                rejects=rejects,
            )
        )
    return trained


def _crop_rejections(config: RunConfig) -> dict[str, dict[str, dict[str, float]]]:
    """Student -> score -> AUROC and FPR95, for crops that show the object against those that do not."""
    from fdbpl.pipeline.evaluation.student_tests import TrainedLearners
    from fdbpl.pipeline.reproduce.crop_tests import crop_rejection, read_crop_features

    kept = {model_key(table): read_crop_features(config, table) for table in config.student}
    with TrainedLearners(config, "cpu") as learners:
        return {plan.id: crop_rejection(learners.of(plan), kept[model_key(plan.config)]) for plan in list_plans(config)}


def student_rows(form: Form, scores: list[Score]) -> list[dict[str, Any]]:
    """`results`: an entry a score."""
    differences = {
        key: paired(scores, *key, REFERENCE) for key in dict.fromkeys((one.setting, one.row) for one in scores)
    }
    return [
        {
            **_named(form, one.setting, one.row),
            "student": one.student,
            "few_shot_seeds": one.num_seeds,
            **{key: _rounded(getattr(one, key)) for key in ("base", "new", "hm", "sd")},
            "paired_difference": _rounded(differences[one.setting, one.row].differences[one.student]),
            "standard_error": _rounded(differences[one.setting, one.row].standard_error),
        }
        for one in scores
    ]


def summaries(form: Form, scores: list[Score]) -> list[dict[str, Any]]:
    """`summary`: an entry a setting and method, in the order of the scores."""
    rows = []
    for setting, row in dict.fromkeys((one.setting, one.row) for one in scores):
        own = [one for one in scores if (one.setting, one.row) == (setting, row)]
        difference = paired(scores, setting, row, REFERENCE)
        rows.append(
            {
                **_named(form, setting, row),
                **{key: _rounded(statistics.fmean(getattr(one, key) for one in own)) for key in ("base", "new", "hm")},
                "sd": _rounded(sample_sd([one.hm for one in own])),
                **_difference(difference),
            }
        )
    return rows


def _rejections(form: Form, scores: list[Score]) -> Iterator[dict[str, Any]]:
    """`rejections`: an entry a setting, method and what is rejected."""
    for setting, row in dict.fromkeys((one.setting, one.row) for one in scores):
        own = [one for one in scores if (one.setting, one.row) == (setting, row)]
        for what in own[0].rejects:
            yield {
                **_named(form, setting, row),
                "rejects": what,
                "score": next(one.score for one in form.rows if one.name == row),
                "auroc": _rounded(statistics.fmean(one.rejects[what] for one in own)),
                "sd": _rounded(sample_sd([one.rejects[what] for one in own])),
                **_difference(paired(scores, setting, row, REFERENCE, what)),
            }


def _pooled(form: Form, scores: list[Score]) -> Iterator[dict[str, Any]]:
    """`pooled`: an entry a method and number."""
    if not scores:
        return
    for row in form.rows:
        if row.name != REFERENCE:
            for what in ("hm", *scores[0].rejects):
                yield {"row": row.name, "what": what, **_difference(pooled(scores, row.name, REFERENCE, what))}


def _difference(found: Paired) -> dict[str, Any]:
    return {
        "paired_difference": _rounded(found.mean),
        "standard_error": _rounded(found.standard_error),
        "num_students": len(found.differences),
        "students_above": sum(value > 0 for value in found.differences.values()),
        "is_clear": found.is_clear,
    }


def _named(form: Form, setting: Setting, row: str) -> dict[str, Any]:
    method = next(one for one in form.rows if one.name == row)
    return {"row": row, "learner": method.learner, "objective": method.objective, **asdict(setting)}


def _zero_shot(form: Form, folder: Path, found: dict[Run, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Of each split: every teacher once, every student once, though several runs tell of them."""
    seen = set()
    for run, results in found.items():
        told = results["zero_shot"]
        tables = {TableName.of_id(table.name).student: table for table in run_config(form, folder, run).student}
        keys = {("teacher", run.teacher): "teacher"}
        for student, table in tables.items():
            suffix = f" {model_key(table)}" if len(tables) > 1 else ""
            keys |= {("student", student): f"student{suffix}", ("student_start", student): f"student_start{suffix}"}
        for (role, model), key in keys.items():
            if (run.split, role, model) not in seen:
                seen.add((run.split, role, model))
                yield {"split": run.split, "role": role, "model": model, **told[key]}


def _made_of(form: Form, run_results: Iterable[dict[str, Any]]) -> str:
    """A digest of all that the results follow from."""
    return digest_of(canonical_json([form.to_json(), [one.get("made_of") for one in run_results]]).encode())


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
