"""What docs/methods.md says of learners, objectives and options is so, and its examples run."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pytest

from fdbpl.pipeline.config import RunConfig, Supervision, ViewPolicy
from fdbpl.pipeline.datasets.name_list import read_names
from fdbpl.pipeline.learners import catalog as learners
from fdbpl.pipeline.objectives import catalog as objectives
from fdbpl.pipeline.run_folder import RunFolder
from fdbpl.pipeline.students.checked import student_plans
from fdbpl.pipeline.training.student_run import run_student

TEXT = (Path(__file__).parents[2] / "docs" / "methods.md").read_text()


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", TEXT, flags=re.DOTALL)


def rows(title: str) -> list[list[str]]:
    """The cells of the first table under a heading, without its head."""
    section = TEXT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def names(title: str) -> list[str]:
    return [cells[0].strip("`") for cells in rows(title)]


def test_the_tables_are_the_catalogues() -> None:
    assert names("Learners") == list(learners.LEARNERS)
    assert names("Objectives") == list(objectives.OBJECTIVES)
    assert names("Views") == list(get_args(ViewPolicy))
    axes = dict(re.findall(r"^\| \w+: .*? \| `(\w+)` \| (.*) \|$", TEXT, flags=re.MULTILINE))
    assert re.findall(r"`(\w+)`", axes["learner"]) == list(learners.LEARNERS)
    assert re.findall(r"`(\w+)`", axes["objective"]) == list(objectives.OBJECTIVES)
    assert re.findall(r"`(\w+)`", axes["supervision"]) == list(get_args(Supervision))


def test_what_a_learner_wants_and_costs_is_the_catalogues() -> None:
    for name, _, wants, costs, _ in rows("Learners"):
        entry = learners.LEARNERS[name.strip("`")]
        found = {"pixels"} if "pixels" in wants else set()
        found |= {"features"} if "features" in wants else set()
        assert found == entry.needs
        assert ("batches of 2" in wants) == (entry.least_batch == 2)
        assert costs.startswith("nothing") == (not entry.slow_to_evaluate)
    (dual,) = re.findall(r"Learners of text \((.*?)\)", TEXT)
    assert re.findall(r"`(\w+)`", dual) == [name for name, entry in learners.LEARNERS.items() if entry.learns_text]


def test_all_options_are_there_with_their_defaults() -> None:
    tables = [tomllib.loads(block)["student"] for block in blocks("toml")]
    (of_learners,) = (table["learner_options"] for table in tables if "learner_options" in table)
    (of_objectives,) = (table["objective_options"] for table in tables if "objective_options" in table)
    assert of_learners == {name: asdict(learners.learner_options(name, {})) for name in learners.LEARNERS}
    made = {name: objectives.make_objective(name, {}) for name in objectives.OBJECTIVES}
    assert of_objectives == {name: asdict(one) for name, one in made.items()}


def test_a_table_of_names_becomes_a_vocabulary(tmp_path: Path) -> None:
    (block,) = (block for block in blocks("python") if "csv" in block)
    (tmp_path / "classnames_dictionay.csv").write_text('ClassName\n10 cane\n"a, b"\n 10 cane\n\nx ray\n')
    subprocess.run([sys.executable, "-c", block], cwd=tmp_path, check=True)
    assert read_names(tmp_path / "names.txt") == ("10 cane", "a, b", "x ray")


def test_the_new_learner_and_the_new_objective_train(
    taught: RunConfig,
    make_config: Callable[..., RunConfig],
    student_table: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A file each, and the line that the page names."""
    for name, word in (("confident", "class Confident"), ("shift", "class Shift(")):
        (block,) = (block for block in blocks("python") if word in block)
        module = ModuleType(f"fdbpl.pipeline.{'objectives' if name == 'confident' else 'learners'}.{name}")
        monkeypatch.setitem(sys.modules, module.__name__, module)
        exec(block, module.__dict__)
        if name == "confident":
            monkeypatch.setitem(objectives.OBJECTIVES, name, module.__dict__["Confident"])
    (line,) = re.findall(r'`"shift": (Entry\(.*\))`', TEXT)
    entry = eval(line, {"Entry": learners.Entry, "_HERE": "fdbpl.pipeline.learners"})
    monkeypatch.setattr(learners, "LEARNERS", {**learners.LEARNERS, "shift": entry})
    table = student_table(
        learner="shift", objective="confident", objective_options={"confident": {"least_weight": 0.4}}
    )
    config = make_config(student=[table]).model_copy(update={"store": taught.store})
    (plan,) = student_plans(config)
    record = run_student(config, plan)
    assert (record["student"], record["steps"]) == ("shift-confident-cached-seed1", 4)
    metrics = RunFolder(config.folder).student(plan.id).metrics_file.read_text().splitlines()
    assert '"agreement"' in metrics[0] and len(metrics) == 2
