"""The results of a run as files: the table in JSON and in Markdown, with what they were made of."""

import json
import shlex
from pathlib import Path
from typing import Any

from fdbpl.cache_layout.manifest import canonical_json, digest_of
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.run_folder import RunFolder
from fdbpl.pipeline.students.plan import list_plans
from fdbpl.pipeline.whole_file import replace_json


def is_current(config: RunConfig) -> bool:
    """Whether the results are there, and were made of what there is now."""
    folder = RunFolder(config.folder)
    written = folder.report_file.exists() and folder.page_file.exists()
    return written and read_results(config).get("made_of") == _made_of(config)


def read_results(config: RunConfig) -> dict[str, Any]:
    """results.json, or an empty dict."""
    path = RunFolder(config.folder).results_file
    results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return results


def write_results(config: RunConfig) -> dict[str, Any]:
    """Evaluate all finished students, and write results.json, report.md and report.html; the results.

    Raises:
        ValueError: the test images' features are not there.
    """
    from fdbpl.pipeline.evaluation.evaluate import evaluate
    from fdbpl.pipeline.evaluation.report import write_report
    from fdbpl.pipeline.report.run_report import write_run_report

    made_of = _made_of(config)
    results = {**evaluate(config), "made_of": made_of}
    folder = RunFolder(config.folder)
    write_report(folder.report_file, results)
    replace_json(folder.results_file, results)
    write_run_report(config, command=f"fdbpl status {shlex.quote(str(config.folder))}")
    return results


def _made_of(config: RunConfig) -> str:
    """A digest of all that the results follow from: the config, each student's record, the test features' files."""
    folder = RunFolder(config.folder)
    stated = config.model_dump(mode="json", exclude={"folder", "cluster", "loading", "store", "metrics"})
    students = {plan.id: _digest(folder.student(plan.id).record_file) for plan in list_plans(config)}
    features = {
        path.name: [path.stat().st_size, path.stat().st_mtime_ns]
        for path in sorted(folder.test_features("x").parent.glob("*"))
    }
    return digest_of(canonical_json([stated, students, features]).encode())


def _digest(path: Path) -> str | None:
    return digest_of(path.read_bytes()) if path.exists() else None
