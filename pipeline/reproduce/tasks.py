"""What a task of each step does: functions of (folder, task id), safe to run again, in one process of one thread.

Two copies of a task may overlap, as jobs of a cluster do after a node was lost: all that they write is the same.
"""

import os
from pathlib import Path
from typing import Any

import torch

from fdbpl.cache_layout.store import open_store
from fdbpl.pipeline.config import ClusterConfig
from fdbpl.pipeline.data.load import load_data
from fdbpl.pipeline.datasets.world import make_world
from fdbpl.pipeline.evaluation.features import write_test_features
from fdbpl.pipeline.labels.feature_names import campaign_of
from fdbpl.pipeline.labels.features import feature_block
from fdbpl.pipeline.labels.manifest import CAMPAIGN
from fdbpl.pipeline.labels.teach import prepare_store, teach_block
from fdbpl.pipeline.presets.preset import render
from fdbpl.pipeline.reproduce.crop_tests import write_crop_features
from fdbpl.pipeline.reproduce.form import Form
from fdbpl.pipeline.reproduce.models import make_model
from fdbpl.pipeline.reproduce.results import write_results
from fdbpl.pipeline.reproduce.runs import Layout, TableName, run_by_id
from fdbpl.pipeline.reproduce.state import ReproductionState, RunState, form_of
from fdbpl.pipeline.run.todo import SEPARATOR
from fdbpl.pipeline.students.checked import student_plans
from fdbpl.pipeline.students.packs import packs
from fdbpl.pipeline.training.student_run import run_students
from fdbpl.pipeline.weights import model_key
from fdbpl.pipeline.whole_file import replace_file
from fdbpl.slurm.progress import report_progress


def worlds(folder: Path, task_id: str) -> dict[str, Any]:
    """Task id: a split."""
    form = _form()
    target = Layout(folder).world(task_id)
    world = make_world(target, spec=form.world(task_id), seed=form.world_seed, on_progress=report_progress)
    return {"images": world.num_rendered}


def models(folder: Path, task_id: str) -> dict[str, Any]:
    """Task id: a model."""
    make_model(_form(), folder, task_id, report_progress)
    return {"model": task_id}


def labels(folder: Path, task_id: str) -> dict[str, Any]:
    """Task id: a run. Its config is kept as a file, for whoever wants to look at it."""
    run = _run(folder, task_id)
    config = run.config
    replace_file(Layout(folder).run_file(run.run), render(config, "the reproduction").encode())
    store = prepare_store(config)
    blocks = store.missing_blocks(CAMPAIGN)
    report = _Sum(sum(block.num_views for block in blocks))
    for block in blocks:
        report.add(teach_block(config, block.id, report))
    return {"views": report.done}


def features(folder: Path, task_id: str) -> dict[str, Any]:
    """Task id: run@model."""
    run_id, model = task_id.split(SEPARATOR)
    run = _run(folder, run_id)
    config, student = run.config, run.table_of(model)
    report = _Sum(0)
    if student is not None:
        campaign = campaign_of(student)
        blocks = open_store(config.store.path).missing_blocks(campaign)
        report = _Sum(sum(block.num_views for block in blocks))
        for block in blocks:
            report.add(feature_block(config, campaign, block.id, report))
    write_test_features(config, model_key(student or config.teacher), lambda done, total: None)
    if student is not None and _form().rejects:
        write_crop_features(config, student)
    return {"views": report.done}


def train(folder: Path, task_id: str) -> dict[str, Any]:
    """Task id: run@student."""
    run_id, student = task_id.split(SEPARATOR)
    config = _run(folder, run_id).config
    plans = [plan for plan in student_plans(config) if TableName.of_id(plan.id).student == student]
    report = _Sum(len(plans) * _form().steps)
    seconds = 0.0
    # One task has them all: no worker waits for a pack.
    for pack in packs(plans, ClusterConfig(max_workers=1), len(load_data(config.data).class_names)):
        records = run_students(config, pack, report)
        seconds += sum(record["train_seconds"] for record in records)
        report.add(sum(record["steps"] for record in records))
    return {"steps": report.done, "train_seconds": round(seconds, 3)}


def table(folder: Path, task_id: str) -> dict[str, Any]:
    """The results of all runs, evaluated and put together."""
    results = write_results(_form(), folder)
    return {"rows": len(results["results"])}


class _Sum:
    """Progress of a task of several parts; called by each with its own."""

    def __init__(self, total: int) -> None:
        self.done, self._total = 0, total

    def __call__(self, done: int, _total: int) -> None:
        report_progress(self.done + done, self._total)

    def add(self, amount: int) -> None:
        """Count a part that has ended."""
        self.done += amount
        report_progress(self.done, self._total)


def _form() -> Form:
    # The step's own number of cores.
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    return form_of(os.environ)


def _run(folder: Path, run_id: str) -> RunState:
    form = _form()
    return RunState(ReproductionState(form, folder), run_by_id(form, run_id))
