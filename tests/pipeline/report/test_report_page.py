"""The report of a run as a browser shows it: complete, unfinished, and of a run that knows little."""

import csv
import io
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from browser import browser, needs_browser, opened, sideways

from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.progress import Ui
from fdbpl.pipeline.report.curve_figures import curves_of
from fdbpl.pipeline.report.gathered import gather
from fdbpl.pipeline.report.run_report import write_run_report
from fdbpl.pipeline.run.workflow import Workflow

TABLES = ("methods", "students", "time", "store", "encodings")
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as found:
        yield found


@pytest.fixture
def complete(make_config: Callable[..., RunConfig], student_table: Callable[..., dict[str, Any]]) -> RunConfig:
    """A finished run of four students."""
    tables = [student_table(objective=["kdpl", "fdbpl"], seeds=[1, 2], epochs=3)]
    config = make_config(student=tables)
    with Workflow(config, Ui(quiet=True), command="fdbpl evaluate") as workflow:
        workflow.teach()
        workflow.features()
        workflow.train()
        workflow.evaluate()
    return config


@needs_browser
@pytest.mark.slow
def test_a_complete_run_in_a_browser(complete: RunConfig, chromium: Any, tmp_path: Path) -> None:
    path = complete.folder / "report.html"
    results = json.loads((complete.folder / "results.json").read_text())
    with opened(chromium, path, viewport={"width": 1200, "height": 900}, accept_downloads=True) as page:
        assert page.title() == "world: base-to-new"
        drawings = page.locator("figure svg")
        assert drawings.count() == 6
        for number in range(6):
            box = drawings.nth(number).bounding_box()
            assert box is not None and box["width"] > 250 and box["height"] > 60
            assert drawings.nth(number).locator("path").count() > 5
        light = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.click("#theme")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light
        with page.expect_download() as waited:
            page.click('button[data-file="methods.csv"]')
        rows = list(csv.reader(io.StringIO(Path(waited.value.path()).read_text())))
        assert rows[0][:4] == ["method", "base", "new", "HM"]
        assert [row[0] for row in rows[-2:]] == [method["method"] for method in results["methods"]]
        assert rows[-1][3].split(" ")[0] == f"{results['methods'][-1]['hm']:.1f}"
        with page.expect_download() as waited:
            page.click('button[data-file="methods.tex"]')
        assert Path(waited.value.path()).read_text().startswith(r"\begin{tabular}{lrrrrrr}")
        page.emulate_media(media="print")
        assert not page.locator("nav").is_visible() and page.locator("#results").is_visible()
    with opened(chromium, path, viewport=PHONE, color_scheme="dark") as page:
        assert sideways(page) == 0
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 26)"


@pytest.mark.slow
def test_tables_are_written_as_files_too(complete: RunConfig, call: Any, tmp_path: Path) -> None:
    answer = call("report", str(complete.folder), "--tables", "tables", "--out", "page.html", "--json")
    assert answer.returncode == 0, answer.stderr
    told = json.loads(answer.stdout)
    assert (told["report"], told["unfinished"], told["evaluated"]) == ("page.html", [], True)
    assert {Path(one).name for one in told["tables"]} == {
        f"{name}.{suffix}"
        for name in ("methods", "students", "time", "store", "encodings")
        for suffix in ("csv", "tex")
    }
    rows = list(csv.reader(io.StringIO((tmp_path / "tables/time.csv").read_text())))
    assert {row[0] for row in rows} >= {"stage", "teach", "features", "train-1", "all"}
    assert [row[1] for row in rows if row[0] in ("teach", "features")] == ["6", "6"]


@needs_browser
def test_an_unfinished_run_says_what_is_missing(taught: RunConfig, chromium: Any, tmp_path: Path) -> None:
    """Labels are there, and no student."""
    told = write_run_report(taught, command="fdbpl submit run.toml", out=tmp_path / "page.html")
    assert told["unfinished"] == ["coop-kdpl-cached-seed1"] and not told["evaluated"]
    with opened(chromium, tmp_path / "page.html", viewport=PHONE) as page:
        assert page.locator("#missing").inner_text().endswith("To go on: fdbpl submit run.toml")
        assert page.locator("#results").count() == 0
        assert page.locator("#store").inner_text().count("sealed") == 2
        assert sideways(page) == 0


@needs_browser
def test_a_run_that_was_never_begun_has_a_report(
    make_config: Callable[..., RunConfig], chromium: Any, tmp_path: Path
) -> None:
    config = make_config()
    told = write_run_report(config, command="fdbpl submit <run>.toml", out=tmp_path / "page.html")
    assert told["sentence"].startswith("Nothing is evaluated yet")
    with opened(chromium, tmp_path / "page.html") as page:
        assert "fdbpl submit <run>.toml" in page.locator("#missing").inner_text()
        assert "There is no store yet" in page.locator("#store").inner_text()


def test_a_folder_that_is_no_run_is_refused(call: Any, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    answer = call("report", "empty")
    assert answer.returncode == 2
    assert "found no run in empty, expected a run's folder or its config file" in answer.stderr


@pytest.mark.slow
def test_a_copied_run_gets_a_report_of_its_own(complete: RunConfig, call: Any, tmp_path: Path) -> None:
    page = complete.folder / "report.html"
    page.unlink()
    shutil.copytree(complete.folder, tmp_path / "copy")
    told = json.loads(call("report", "copy", "--json").stdout)
    assert told["report"] == str(tmp_path / "copy" / "report.html")
    assert Path(told["report"]).exists() and not page.exists()
    # The numbers are those of results.json, and every stage is timed.
    results = json.loads((complete.folder / "results.json").read_text())
    assert (told["methods"], told["missing"], told["published"]) == (results["methods"], [], [])
    assert {"teach", "features", "train-1"} <= set(told["stages"])
    assert f"{tmp_path}/copy/store.zarr" in Path(told["report"]).read_text()


@needs_browser
def test_words_of_a_data_set_are_no_markup(
    make_config: Callable[..., RunConfig], chromium: Any, tmp_path: Path
) -> None:
    config = make_config()
    data = config.data.model_copy(update={"name": "<script>document.title = 'x'</script>"})
    write_run_report(config.model_copy(update={"data": data}), command="<b>x", out=tmp_path / "page.html")
    with opened(chromium, tmp_path / "page.html") as page:
        assert page.locator("h1").inner_text().startswith("<script>document.title")
        assert page.title().startswith("<script>") and page.locator("#missing b").count() == 0


def test_terms_have_curves_and_a_term_that_is_the_loss_has_none(taught: RunConfig) -> None:
    run = gather(taught)
    (student,) = run.plans
    epochs = [{"epoch": 0, "agreement": 2.0, "loss": 3.0}, {"epoch": 1, "agreement": 1.0, "loss": 2.0}]
    method = run.methods[student]
    told = replace(run, metrics={student: epochs})
    assert curves_of(told) == {method: {"loss": [[3.0, 2.0]], "agreement": [[2.0, 1.0]]}}
    alone = replace(run, metrics={student: [{"epoch": 0, "agreement": 3.0, "loss": 3.0}]})
    assert curves_of(alone) == {method: {"loss": [[3.0]]}}
