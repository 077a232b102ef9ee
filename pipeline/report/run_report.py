"""`report.html` of a run: one page with its results, curves, costs, times, store and environment."""

from pathlib import Path
from typing import Any

from markupsafe import Markup

from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.pages.page import Page, Section, paragraphs, write_page
from fdbpl.pipeline.pages.tables import table, write_tables
from fdbpl.pipeline.report.accuracy_figures import accuracy_figures
from fdbpl.pipeline.report.curve_figures import learning_curves
from fdbpl.pipeline.report.facts_sections import encodings_table, environment_section, store_section, store_table
from fdbpl.pipeline.report.gathered import Gathered, gather
from fdbpl.pipeline.report.missing import missing, untold
from fdbpl.pipeline.report.published_table import published_numbers, published_table
from fdbpl.pipeline.report.result_tables import Table, result_tables, sentence
from fdbpl.pipeline.report.time_section import time_section, time_table
from fdbpl.pipeline.run_folder import RunFolder

_NOTES = {
    "methods": "Accuracy in percent; learned rows: mean ± standard deviation over seeds. Δ: to the student's own "
    "zero-shot prompt. In quotes: hand-written prompts.",
    "published": "Beside what papers report of the same protocol, student, teacher and data sets.",
    "students": "Every student, whatever it reached.",
    "rejection": "How well images of no class trained on are told from the others, in percent.",
}


def write_run_report(
    config: RunConfig, *, command: str, out: Path | None = None, tables: Path | None = None
) -> dict[str, Any]:
    """Write the page, and with `tables` each of its tables as CSV and LaTeX; what was written, as JSON.

    Args:
        command: what a person types to go on where the run is not complete.
        out: where the page goes; None: into the run's folder.
    """
    run = gather(config)
    path = RunFolder(config.folder).page_file if out is None else out
    write_page(path, _page(run, command))
    written = write_tables(tables, _all_tables(run)) if tables is not None else []
    return {
        "report": str(path),
        "sentence": sentence(run),
        "evaluated": bool(run.results),
        "unfinished": run.unfinished,
        "missing": missing(run),
        "not_told": untold(run),
        "columns": run.results.get("columns", []),
        "zero_shot": run.results.get("zero_shot", {}),
        "methods": run.results.get("methods", []),
        "students": run.results.get("students", []),
        "published": published_numbers(run),
        "stages": {stage.name: {**stage.parts, "span": stage.span, "tasks": len(stage.tasks)} for stage in run.stages},
        "tables": [str(one) for one in written],
    }


def _all_tables(run: Gathered) -> dict[str, Table]:
    found = _result_tables(run)
    if run.stages:
        found["time"] = time_table(run)
    if run.store:
        found |= {"store": store_table(run), "encodings": encodings_table(run)}
    return found


def _page(run: Gathered, command: str) -> Page:
    config = run.config
    sections = [*_missing(run, command), *_results(run)]
    for name, title, drawn in (
        ("accuracy", "Accuracies", accuracy_figures(run)),
        ("curves", "Learning curves", learning_curves(run)),
    ):
        if drawn:
            sections.append(Section(name=name, title=title, body=tuple(drawn)))
    times = time_section(run)
    sections += [*([] if times is None else [times]), store_section(run), environment_section(run)]
    if gaps := untold(run):
        sections.append(Section(name="untold", title="What the records do not tell", body=(paragraphs(*gaps),)))
    title = f"{config.data.name}: {config.evaluate.protocol}"
    return Page(title=title, subtitle=sentence(run), sections=tuple(sections))


def _missing(run: Gathered, command: str) -> list[Section]:
    """What a reader must know before the numbers."""
    lines = missing(run)
    if not lines:
        return []
    body = (paragraphs(*lines), Markup("<p>To go on: <code>{}</code></p>").format(command))
    return [Section(name="missing", title="What is missing", body=body)]


def _result_tables(run: Gathered) -> dict[str, Table]:
    beside = published_table(run)
    return {**result_tables(run), **({"published": beside} if beside is not None else {})}


def _results(run: Gathered) -> list[Section]:
    tables = _result_tables(run)
    if not tables:
        return []
    results = run.results
    left_out = len(results.get("test_images_excluded", ()))
    counted = f"{results['test_images']:,} test images."
    if left_out:
        counted += f" {left_out} test images cannot be read and are left out."
    numeric = {"published": (2, 3, 4)}  # the others have words in their first column alone
    body = tuple(table(name, *rows, numeric=numeric.get(name), caption=_NOTES[name]) for name, rows in tables.items())
    return [Section(name="results", title="Results", body=body, note=counted)]
