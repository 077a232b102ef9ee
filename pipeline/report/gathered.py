"""All that a run's folder tells of a run, read without computing anything."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fdbpl.cache_layout.errors import CacheError
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.labels.store_info import store_info
from fdbpl.pipeline.pages.figures import SERIES
from fdbpl.pipeline.report.timeline import StageTime, read_timeline
from fdbpl.pipeline.run_folder import RunFolder
from fdbpl.pipeline.students.plan import StudentPlan, list_plans


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """What a report is made of.

    Attributes:
        results: results.json; empty where nothing was evaluated.
        metrics: student -> what it has told of each epoch so far.
        trained: students that are trained to the end.
        plans: student -> what it is, of all in the config.
        stages: where the time of its tasks went, in the order in which they began.
        store: the facts of its store; empty where there is none, and then `store_error` says why.
        submissions: who submitted it, when, by what.
    """

    config: RunConfig
    results: dict[str, Any]
    metrics: dict[str, list[dict[str, float]]]
    trained: frozenset[str]
    plans: dict[str, StudentPlan]
    stages: tuple[StageTime, ...]
    store: dict[str, Any] = field(default_factory=dict)
    store_error: str = ""
    submissions: tuple[dict[str, Any], ...] = ()

    @property
    def methods(self) -> dict[str, str]:
        """Student -> method, of all in the config."""
        return {name: plan.method for name, plan in self.plans.items()}

    def colour(self, method: str) -> str:
        """The same in every drawing. Results may be older than the config, and tell of methods that it lacks."""
        names = (*self.methods.values(), *(one["method"] for one in self.results.get("methods", ())))
        return SERIES[list(dict.fromkeys(names)).index(method) % len(SERIES)]

    @property
    def unfinished(self) -> list[str]:
        """Students of the config that have no result."""
        done = {student["id"] for student in self.results.get("students", ())}
        return [name for name in self.plans if name not in done]

    @property
    def measure(self) -> str:
        """The column by which methods are compared: the last, which sums the others up."""
        return str(self.results["columns"][-1])


def gather(config: RunConfig) -> Gathered:
    """Read a run's folder. What is not there is left empty."""
    folder = RunFolder(config.folder)
    plans = {plan.id: plan for plan in list_plans(config)}
    store, error = _store(config.store.path)
    return Gathered(
        config=config,
        results=_json(folder.results_file),
        metrics={name: lines for name in plans if (lines := _metrics(folder.student(name).metrics_file))},
        trained=frozenset(name for name in plans if folder.student(name).record_file.exists()),
        plans=plans,
        stages=read_timeline(folder.root),
        store=store,
        store_error=error,
        submissions=tuple(_json(folder.root / "records" / "provenance.json").get("submissions", ())),
    )


def _json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def _metrics(path: Path) -> list[dict[str, float]]:
    """Of a student that is training now the last line may be a part of one."""
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _store(path: Path) -> tuple[dict[str, Any], str]:
    try:
        return store_info(path), ""
    except CacheError as error:
        return {}, str(error)
