from pathlib import Path

from fdbpl.pipeline.config import EvaluateConfig, RunConfig
from fdbpl.pipeline.evaluation.evaluate import summary
from fdbpl.pipeline.evaluation.report import result_rows, write_report

STUDENTS = [
    {"method": "coop-kdpl-cached", "base": base, "new": new, "hm": 0.0, "train_seconds": 2.0}
    for base, new in ((60.0, 40.0), (70.0, 50.0), (80.0, 60.0))
]
CONFIG = RunConfig.model_construct(evaluate=EvaluateConfig(), data=None)
RESULTS = {
    "data": "world",
    "protocol": "base-to-new",
    "columns": ["base", "new", "hm"],
    "zero_shot": {"teacher": {"template": "a {}.", "base": 90.0, "new": 80.0, "hm": 84.7}},
    "methods": [summary(CONFIG, STUDENTS, "coop-kdpl-cached"), summary(CONFIG, STUDENTS, "coop-fdbpl-cached")],
}


def test_a_summary_has_the_mean_the_spread_and_the_harmonic_mean_of_the_means() -> None:
    result = summary(CONFIG, STUDENTS, "coop-kdpl-cached")
    assert (result["base"], result["base_sd"]) == (70.0, 10.0)
    assert (result["new"], result["new_sd"]) == (50.0, 10.0)
    assert result["hm"] == round(2 * 70 * 50 / 120, 2)
    assert result["num_seeds"] == 3


def test_one_seed_has_no_spread() -> None:
    assert summary(CONFIG, STUDENTS[:1], "coop-kdpl-cached")["base_sd"] is None


def test_every_method_is_a_row_even_one_that_is_not_trained() -> None:
    assert result_rows(RESULTS) == [
        ("teacher: 'a {}.'", "90.0", "80.0", "84.7", "", ""),
        ("coop-kdpl-cached", "70.0 ± 10.0", "50.0 ± 10.0", "58.3 ± 0.0", "3", "2.0"),
        ("coop-fdbpl-cached", "not trained yet", "", "", "0", ""),
    ]


def test_the_markdown_page_is_a_table(tmp_path: Path) -> None:
    write_report(tmp_path / "report.md", RESULTS)
    lines = (tmp_path / "report.md").read_text().splitlines()
    assert lines[2] == "| method | base | new | HM | n | train s |"
    assert {line.count("|") for line in lines if line.startswith("|")} == {7}
