"""Studies beside the comparison: their rows, students of their own, and what is rejected, in the smallest form."""

import importlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from fdbpl.pipeline.evaluation.rejection import auc
from fdbpl.pipeline.evaluation.student_tests import TrainedLearners
from fdbpl.pipeline.learners.catalog import learner_options
from fdbpl.pipeline.objectives.catalog import make_objective
from fdbpl.pipeline.reproduce.chain import reproduction_chain
from fdbpl.pipeline.reproduce.crop_tests import read_crop_features
from fdbpl.pipeline.reproduce.form import FORMS, form_by
from fdbpl.pipeline.reproduce.report import page_lines
from fdbpl.pipeline.reproduce.results import read_results
from fdbpl.pipeline.reproduce.runs import all_runs, run_config
from fdbpl.pipeline.students.plan import list_plans


def run_here(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Every task of the chain, one after another in this process; what is found."""
    chain = reproduction_chain(FORMS[name], folder)
    for key, value in chain.environment.items():
        monkeypatch.setenv(key, value)
    for step in chain.steps:
        module, _, function = step.function.partition(":")
        for task in chain.todo(step).missing:
            getattr(importlib.import_module(module), function)(folder, task)
        if step.finish:
            module, _, function = step.finish.partition(":")
            getattr(importlib.import_module(module), function)(folder, chain.environment, step.name)
        assert chain.todo(step).is_finished
    return read_results(folder)


def test_every_row_is_a_method_that_can_be_built() -> None:
    for form in FORMS.values():
        assert len({row.name for row in form.rows}) == len(form.rows)
        for row in form.rows:
            make_objective(row.objective, dict(row.table.get("objective_options", {}).get(row.objective, {})))
            learner_options(row.learner, dict(row.table.get("learner_options", {}).get(row.learner, {})))


def test_the_coupled_study_has_students_and_worlds_that_no_other_has() -> None:
    students = [set(form_by("quick", study).students) for study in ("comparison", "coupled", "coupled-again")]
    assert not students[0] & students[1] and not students[0] & students[2] and not students[1] & students[2]
    seeds = [form_by("quick", study).world_seed for study in ("comparison", "coupled", "coupled-again")]
    assert len(set(seeds)) == 3
    with pytest.raises(ValueError, match="found the study order, expected one of comparison, ablation"):
        form_by("quick", "order")


@pytest.mark.slow
def test_what_is_rejected_is_measured_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = FORMS["tiny-coupled"]
    small = replace(whole, splits=("grid",), crops=("small",), few_shot_seeds=(1,), rows=(whole.rows[0], whole.rows[5]))
    monkeypatch.setitem(FORMS, whole.name, small)
    found = run_here(whole.name, tmp_path, monkeypatch)
    assert [row.name for row in small.rows] == ["kdpl", "presence"]
    assert {(one["row"], one["rejects"], one["score"]) for one in found["rejections"]} == {
        ("kdpl", "unlisted", "max_probability"),
        ("kdpl", "no_object", "max_probability"),
        ("presence", "unlisted", "both"),
        ("presence", "no_object", "both"),
    }
    assert [(one["row"], one["what"]) for one in found["pooled"]] == [
        ("presence", "hm"),
        ("presence", "unlisted"),
        ("presence", "no_object"),
    ]
    # Of one student by hand: the largest probability of crops that show the object against that of the others.
    (run,) = all_runs(small)
    config = run_config(small, tmp_path, run)
    auroc = []
    for plan in list_plans(config):
        if plan.objective == "kdpl":
            crops = read_crop_features(config, plan.config)
            with torch.no_grad(), TrainedLearners(config, "cpu") as learners:
                learner = learners.of(plan)
                classifier_CD = learner.classifier(learner.class_names)["classifier"]
                logits_VC = learner.backbone.logit_scale * crops.features_VD @ classifier_CD.T
            # In float64: in float32 the probabilities of so small a model tie.
            probs_V = logits_VC.double().softmax(-1).amax(-1).numpy()
            shows_V = crops.shows_V.numpy()
            value = auc(probs_V[shows_V], probs_V[~shows_V])
            assert value is not None
            auroc.append(100 * value)
    (told,) = (one for one in found["rejections"] if (one["row"], one["rejects"]) == ("kdpl", "no_object"))
    assert told["auroc"] == pytest.approx(sum(auroc) / len(auroc), abs=0.02)
    page = "\n".join(page_lines(found))
    assert "| presence | no object | both |" in page and "## Over all settings" in page
    assert "reproduce mini --tiny --study coupled`" in page
