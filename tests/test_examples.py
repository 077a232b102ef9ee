"""Every example does what its head says, in under sixty lines."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fdbpl.pipeline.clip.tiny import unpack_tiny_checkpoints
from fdbpl.pipeline.config_file import parse_config, read_config
from fdbpl.pipeline.data.exclusions import run_data
from fdbpl.pipeline.data.load import load_data
from fdbpl.pipeline.datasets.world import WorldSpec, make_world
from fdbpl.pipeline.library.run import Run
from fdbpl.pipeline.presets.preset import write_preset
from fdbpl.pipeline.students.checked import student_plans
from fdbpl.pipeline.training.student_record import finished_records
from fdbpl.slurm.profile import Profile

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").iterdir())


def python(folder: Path, *arguments: str) -> str:
    answer = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


@pytest.fixture
def play(tmp_path: Path) -> Path:
    """A folder with a small world, its models, the tiny preset's config and the examples."""
    make_world(tmp_path / "play/world", spec=WorldSpec(train_per_class=4, val_per_class=0, test_per_class=1), seed=1)
    unpack_tiny_checkpoints(tmp_path / "play/models")
    write_preset(tmp_path / "play/fdbpl.toml", "tiny")
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    return tmp_path


TABLE = """
[[student]]
model = "fdbpl-tiny-student"
pretrained = "models/student.safetensors"
learner = ["{learner}"]
objective = ["{objective}"]
shots = 2
epochs = 3
seeds = [1, 2]
"""


@pytest.fixture
def own(play: Path) -> Callable[..., Path]:
    """Writes a config of two tables, one with an objective of one's own and one with a learner; each may have more."""

    def write(objective: str = "", learner: str = "") -> Path:
        text = (play / "play/fdbpl.toml").read_text()
        head = text[: text.index("# A grid of students")].replace("seeds = 16 ", "seeds = 2 ")
        first = TABLE.format(learner="coop", objective="../examples/focal.py:Focal")
        second = TABLE.format(learner="../examples/text_map.py:TextMap", objective="kdpl")
        path = play / "play/own.toml"
        path.write_text(head + first + objective + second + learner)
        return path

    return write


def test_there_are_examples_and_none_is_long() -> None:
    assert len(EXAMPLES) >= 6
    assert all(len(path.read_text().splitlines()) < 60 for path in EXAMPLES if path.is_file())


def test_the_site_is_a_profile() -> None:
    profile = Profile.model_validate(tomllib.loads((ROOT / "examples/site.toml").read_text()))
    assert (profile.partition, profile.retry.rounds) == ("gpu", 3)


def test_a_table_of_images_becomes_a_split_file(tmp_path: Path) -> None:
    rows = [
        "path,class,part",
        "a/1.jpg,red apple,train",
        "a/2.jpg,red apple,test",
        "b/1.jpg,pear,train",
        "b/2.jpg,pear,val",
    ]
    (tmp_path / "table.csv").write_text("\n".join(rows) + "\n")
    said = python(tmp_path, str(ROOT / "examples/split_of_a_table.py"), "table.csv", "split.json")
    assert said == "split.json: 2 train, 1 val, 1 test\n"
    values = {"folder": "run", "data": {"name": "photos", "folder": ".", "images": ".", "split": "split.json"}}
    values["teacher"] = {"model": "ViT-B-32", "pretrained": "openai"}
    data = load_data(parse_config(values, base=tmp_path, where="test").data)
    assert data.class_names == ("red apple", "pear") and data.train.paths == ("a/1.jpg", "b/1.jpg")
    (tmp_path / "table.csv").write_text("path,class,part\na,b,training\n")
    answer = subprocess.run(
        [sys.executable, str(ROOT / "examples/split_of_a_table.py"), "table.csv", "split.json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 1 and "table.csv:2: found the part 'training'" in answer.stderr


@pytest.mark.slow
def test_the_notebook_and_the_loop_run_in_order(play: Path) -> None:
    lines = python(play, "examples/notebook.py", "play/fdbpl.toml").splitlines()
    assert lines[0].startswith("['prepare', 'teach'") and lines[-1].endswith("report.html")
    assert [line.split()[0] for line in lines[1:4]] == [
        "coop-cross_entropy-hard",
        "coop-kdpl-cached",
        "coop-fdbpl-cached",
    ]
    first, last = python(play, "examples/own_loop.py", "play/run/store.zarr").splitlines()
    assert float(last.split()[-1]) < 0.8 * float(first.split()[-1])


@pytest.mark.slow
def test_an_objective_and_a_learner_of_ones_own_train_and_are_evaluated(own: Callable[..., Path]) -> None:
    run = Run(own(), quiet=True)
    assert run.students == tuple(f"{name}-cached-seed{n}" for name in ("coop-Focal", "TextMap-kdpl") for n in (1, 2))
    results = run.whole()
    assert [(row["learner"], row["objective"]) for row in results["students"]][1:3] == [
        ("coop", "Focal"),
        ("TextMap", "kdpl"),
    ]
    assert all(method["num_seeds"] == 2 for method in results["methods"])
    # Any class has a text feature, for use from open_clip too.
    assert run.learner("TextMap-kdpl-cached-seed1").classifier(["pink elephant"])["classifier"].shape == (1, 64)
    # Another text of the file is another student; the others stay finished.
    file = run.config.data.folder.parents[1] / "examples/focal.py"
    file.write_text(file.read_text().replace("gamma: float = 2.0", "gamma: float = 0.0"))
    plans = student_plans(run.config)
    records = finished_records(run.config, plans, run_data(run.config))
    assert {name: record is not None for name, record in records.items()} == {
        name: name.startswith("TextMap") for name in run.students
    }


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"old": "Focal", "new": "Focus"}, "found no class Focus in it, expected one"),
        ({"old": "focal.py", "new": "vocal.py"}, "expected a Python file and a class of it, such as focal.py:Focal"),
        ({"body": "raise KeyError('x')\n"}, "focal.py cannot be imported: KeyError: 'x'"),
        ({"body": "raise SystemExit(2)\n"}, "focal.py cannot be imported: SystemExit: 2"),
        ({"body": "class Focal: ...\n"}, "found the class Focal without name, needs, dual, by_vocabulary, __call__"),
        ({"edit": ("def __call__", "def call")}, "found the class Focal without __call__, expected a frozen dataclass"),
        ({"edit": ("frozen=True, ", "")}, "found the class Focal that is no frozen dataclass"),
        ({"edit": ('= "teacher"', '= "teachers"')}, "Focal.needs = 'teachers', expected one of labels, teacher"),
        ({"entry": "dict"}, "found `entry` as dict, expected a learners.catalog.Entry"),
        ({"old": "TextMap", "new": "Mapped"}, "found the class Mapped without name, build, start_template, starts"),
    ],
)
def test_what_does_not_fit_is_refused(own: Callable[..., Path], change: dict[str, Any], told: str) -> None:
    path = own()
    examples = path.parents[1] / "examples"
    if "body" in change:
        (examples / "focal.py").write_text(change["body"])
    elif "edit" in change:
        (examples / "focal.py").write_text((examples / "focal.py").read_text().replace(*change["edit"]))
    elif "entry" in change:
        text = (examples / "text_map.py").read_text()
        (examples / "text_map.py").write_text(text.replace("= Entry(", f"= {change['entry']}("))
    else:
        path.write_text(path.read_text().replace(change["old"], change["new"]))
    with pytest.raises(ValueError, match=re.escape(told)):
        student_plans(read_config(path))


def test_options_of_ones_own_are_checked(own: Callable[..., Path]) -> None:
    table = "[student.objective_options.Focal]\n"
    with pytest.raises(ValueError, match=r"found gamma = -1\.0, expected 0 or more"):
        student_plans(read_config(own(table + "gamma = -1.0\n", "[student.learner_options.TextMap]\nrank = 2\n")))
    with pytest.raises(ValueError, match="did you mean 'gamma'"):
        student_plans(read_config(own(table + "gama = 1.0\n")))
    with pytest.raises(
        ValueError, match="found options of Map, expected only those of the table's own learner: TextMap"
    ):
        student_plans(read_config(own("", "[student.learner_options.Map]\nrank = 2\n")))
