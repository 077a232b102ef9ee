"""The page claims an order only where the spread allows one, and shows every number that it rests on."""

from pathlib import Path
from typing import Any

import pytest

from fdbpl.pipeline.reproduce.form import FORMS
from fdbpl.pipeline.reproduce.plots import write_plots
from fdbpl.pipeline.reproduce.replicated import replicated
from fdbpl.pipeline.reproduce.report import page_lines, sentences
from fdbpl.pipeline.reproduce.results import student_rows, summaries
from fdbpl.pipeline.reproduce.runs import Layout
from fdbpl.pipeline.reproduce.scores import Score, Setting

FORM = FORMS["tiny"]
SETTING = Setting(split="grid", crops="small", teacher="strong", shots=4)
HM = {"coop": (40.0, 50.0, 60.0), "kdpl": (41.0, 50.0, 59.0), "fdbpl": (44.0, 54.0, 62.0)}
SCORES = [
    Score(setting=SETTING, row=row, student=1 + number, num_seeds=2, base=hm, new=hm, hm=hm, sd=1.0)
    for row, several in HM.items()
    for number, hm in enumerate(several)
]
REGION = {"split": "grid", "crops": "ordinary", "teacher": "strong", "auc": 0.98}
MEANS = {"background": {"mean_weight": 0.1}, "distractor": {"mean_weight": 0.4}, "main": {"mean_weight": 0.9}}


@pytest.fixture
def results() -> dict[str, Any]:
    summary, regions = summaries(FORM, SCORES), [{**REGION, **MEANS}]
    accuracies = {"base": 80.0, "new": 60.0, "hm": 68.6}
    return {
        "form": FORM.to_json(),
        "reference": "kdpl",
        "results": student_rows(FORM, SCORES),
        "summary": summary,
        "rejections": [],
        "pooled": [],
        "zero_shot": [
            {"split": "grid", "role": "teacher", "model": "strong", "template": "a negative of a {}.", **accuracies},
            {"split": "grid", "role": "student", "model": "student1", "template": "a negative of a {}.", **accuracies},
            {"split": "grid", "role": "student", "model": "student2", "template": "a negative of a {}.", **accuracies},
        ],
        "regions": regions,
        "replicated": replicated(summary, regions),
        "test_images": 64,
    }


def test_a_student_s_entry_has_all_that_others_read(results: dict[str, Any]) -> None:
    assert results["results"][6] == {
        "row": "fdbpl",
        "learner": "coop",
        "objective": "fdbpl",
        "split": "grid",
        "crops": "small",
        "teacher": "strong",
        "shots": 4,
        "student": 1,
        "few_shot_seeds": 2,
        "base": 44.0,
        "new": 44.0,
        "hm": 44.0,
        "sd": 1.0,
        "paired_difference": 3.0,
        "standard_error": 0.333,  # of 3, 4 and 3 points: sd .577 over the root of 3
    }


def test_a_summary_is_over_students(results: dict[str, Any]) -> None:
    coop, kdpl, fdbpl = results["summary"]
    assert (coop["hm"], coop["sd"], coop["num_students"]) == (50.0, 10.0, 3)
    assert (coop["paired_difference"], coop["is_clear"], coop["students_above"]) == (0.0, False, 1)
    assert (kdpl["paired_difference"], kdpl["standard_error"], kdpl["is_clear"]) == (0.0, 0.0, False)
    assert (fdbpl["paired_difference"], fdbpl["is_clear"], fdbpl["students_above"]) == (3.333, True, 3)


def test_an_order_is_told_only_where_the_spread_allows_one(results: dict[str, Any]) -> None:
    assert sentences(results) == [
        "grid, small crops, 4 shots, strong teacher: CoOp and KDPL: no clear order (+0.0 ± 0.6, 1 of 3 students above)",
        "grid, small crops, 4 shots, strong teacher: FDBPL is above KDPL (+3.3 ± 0.3, 3 of 3 students above)",
    ]


def test_a_method_that_is_clearly_below_is_told_to_be(results: dict[str, Any]) -> None:
    results["summary"][2] |= {"paired_difference": -3.333, "students_above": 0}
    assert sentences(results)[1].endswith("FDBPL is below KDPL (-3.3 ± 0.3, 0 of 3 students above)")


def test_what_is_looked_for_again_is_decided_by_the_numbers(results: dict[str, Any]) -> None:
    weights, region = results["replicated"]
    assert weights == {
        "claim": "weights help at small crops in grid",
        "teacher": "strong",
        "shots": 4,
        "paired_difference": 3.333,
        "standard_error": 0.333,
        "students_above": 3,
        "num_students": 3,
        "holds": True,
    }
    assert (region["auc"], region["holds"]) == (0.98, True)
    summary = [*results["summary"][:2], results["summary"][2] | {"paired_difference": -3.333}]
    regions = [{**REGION, "auc": 0.89}, {**REGION, "crops": "small", "auc": 0.5}]
    assert [one["holds"] for one in replicated(summary, regions)] == [False, False]


def test_the_page_shows_methods_students_and_spread(results: dict[str, Any]) -> None:
    lines = page_lines(results)
    for line in (
        "| CoOp | 50.0 | 50.0 | 50.0 ± 10.0 | +0.0 ± 0.6 (1 of 3 above) |",
        "| KDPL | 50.0 | 50.0 | 50.0 ± 9.0 |  |",
        "| FDBPL | 53.3 | 53.3 | 53.3 ± 9.0 | +3.3 ± 0.3 (3 of 3 above) |",
        "| 1 | 40.0 / 41.0 / 44.0 |",
        "| grid | students, right words: 'a negative of a {}.' | 80.0 ± 0.0 | 60.0 ± 0.0 | 68.6 ± 0.0 |",
        "| grid, ordinary crops, strong teacher | 0.10 | 0.40 | 0.90 | 0.980 |",
    ):
        assert line in lines


def test_plots_are_the_same_file_of_the_same_numbers(results: dict[str, Any], tmp_path: Path) -> None:
    plots = []
    for name in ("a", "b"):
        write_plots(Layout(tmp_path / name), results)
        plots.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert set(plots[0]) == {"accuracy.svg", "differences.svg"}
    assert plots[0] == plots[1]
    results["results"][6]["paired_difference"] = 30.0
    write_plots(Layout(tmp_path / "c"), results)
    assert (tmp_path / "c" / "accuracy.svg").read_bytes() == plots[0]["accuracy.svg"]
    assert (tmp_path / "c" / "differences.svg").read_bytes() != plots[0]["differences.svg"]
