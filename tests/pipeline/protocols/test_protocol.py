"""Protocols as one command, on small data sets that lie as those of the field do."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

WriteConfig = Callable[..., Path]
Call = Callable[..., Any]
StudentTable = Callable[..., dict[str, Any]]


@pytest.fixture
def root(shared: Path, tmp_path: Path) -> Path:
    """DTD and EuroSAT with the world's images, ImageNet with those of its first classes, and ImageNetV2."""
    root = tmp_path / "data"
    world = json.loads((shared / "world" / "split_world.json").read_text())
    for folder, images, split in (
        ("dtd", "images", "split_zhou_DescribableTextures.json"),
        ("eurosat", "2750", "split_zhou_EuroSAT.json"),
    ):
        (root / folder).mkdir(parents=True)
        (root / folder / images).symlink_to(shared / "world" / "images")
        (root / folder / split).write_text(json.dumps(world))
    names = sorted({(label, name) for _, label, name in world["train"]})
    for part, split in (("train", "train"), ("val", "test")):
        for path, label, _ in world[split]:
            link(shared / "world" / "images" / path, root / "imagenet" / "images" / part / f"n{label:08d}")
    for path, label, _ in world["test"]:
        inside = root / "imagenetv2" / "imagenetv2-matched-frequency-format-val" / str(label)
        link(shared / "world" / "images" / path, inside)
    for folder in ("imagenet", "imagenetv2"):
        lines = [f"n{label:08d} {name}" for label, name in names]
        (root / folder / "classnames.txt").write_text("\n".join(lines) + "\n")
    return root


def link(image: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    os.link(image, folder / f"{image.parent.name}_{image.name}")


def config_file(write_config: WriteConfig, tables: list[dict[str, Any]], **changes: Any) -> str:
    """A config whose folder is `suite` and whose data set is replaced."""
    path = write_config(student=tables, **changes)
    text = path.read_text().replace('folder = "run"', 'folder = "suite"', 1)
    path.write_text(text.replace('templates = ["a picture of a {}."]\n', ""))
    return str(path)


@pytest.mark.slow
def test_base_to_new_over_data_sets(
    root: Path, write_config: WriteConfig, student_table: StudentTable, tmp_path: Path, call: Call
) -> None:
    path = config_file(write_config, [student_table(epochs=1, seeds=[1, 2])])
    arguments = ("protocol", "base-to-new", path, "--root", str(root), "--data-sets", "dtd,eurosat", "--json")
    planned = call(*arguments, "--dry-run")
    assert planned.returncode == 0, planned.stderr
    told = json.loads(planned.stdout)["runs"]
    assert [(run["run"], run["students"], run["tests"], run["problem"]) for run in told] == [
        ("dtd", 2, ["base", "new"], ""),
        ("eurosat", 2, ["base", "new"], ""),
    ]
    assert told[0]["missing"]["teach"] == 6
    assert not (tmp_path / "suite").exists()

    done = call(*arguments)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["standing"] == {"dtd": "complete", "eurosat": "complete"}
    assert result["missing"] == []
    (method,) = [row for row in result["average"] if row["learned"]]
    found = [result["data_sets"][name]["methods"][0] for name in ("dtd", "eurosat")]
    assert method["num_data_sets"] == 2
    for column in ("base", "new"):
        assert method[column] == pytest.approx((found[0][column] + found[1][column]) / 2, abs=0.006)
    base, new = method["base"], method["new"]
    assert method["hm"] == pytest.approx(2 * base * new / (base + new), abs=0.006)
    # The images are the same: what differs is the data set's own prompt, which the teacher is asked by.
    configs = [(tmp_path / "suite" / f"{name}.toml").read_text() for name in ("dtd", "eurosat")]
    assert 'templates = ["{} texture."]' in configs[0]
    assert 'templates = ["a centered satellite photo of {}."]' in configs[1]

    again = call(*arguments[:-1])
    assert again.returncode == 0, again.stderr
    assert "base-to-new: 2 data sets" in again.stdout and " on local" not in again.stderr
    assert call("status", str(tmp_path / "suite" / "dtd.toml")).returncode == 0


@pytest.mark.slow
def test_prompts_are_carried_from_imagenet(
    root: Path, write_config: WriteConfig, student_table: StudentTable, call: Call
) -> None:
    path = config_file(write_config, [student_table(epochs=1)])
    for name, targets in (("cross-dataset", "dtd,eurosat"), ("domain-generalisation", "imagenetv2")):
        done = call("protocol", name, path, "--root", str(root), "--data-sets", targets, "--json")
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)
        names = targets.split(",")
        assert result["columns"] == ["imagenet", *names, "mean"]
        (method,) = result["data_sets"]["imagenet"]["methods"]
        assert method["mean"] == pytest.approx(sum(method[target] for target in names) / len(names), abs=0.006)
    # The same images under the same 32 names.
    assert method["imagenetv2"] == method["imagenet"]


@pytest.mark.slow
def test_few_shot_has_a_row_for_each_number_of_shots(
    root: Path, write_config: WriteConfig, student_table: StudentTable, call: Call
) -> None:
    path = config_file(write_config, [student_table(epochs=1, shots=[1, 2], seeds=[1, 2])])
    done = call("protocol", "few-shot", path, "--root", str(root), "--data-sets", "dtd", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["columns"] == ["accuracy"]
    methods = [(row["method"], row["num_seeds"]) for row in result["data_sets"]["dtd"]["methods"]]
    assert methods == [("coop-kdpl-cached-1shots", 2), ("coop-kdpl-cached-2shots", 2)]


def test_what_is_not_there_is_told_before_anything_starts(
    root: Path, write_config: WriteConfig, student_table: StudentTable, tmp_path: Path, call: Call
) -> None:
    path = config_file(write_config, [student_table()])
    arguments = ("protocol", "base-to-new", path, "--root", str(root), "--data-sets", "dtd,food101")
    planned = json.loads(call(*arguments, "--dry-run", "--json").stdout)["runs"]
    assert planned[0]["problem"] == "" and "food101" in planned[1]["problem"]
    done = call(*arguments)
    assert done.returncode == 2 and "food101" in done.stderr
    assert not (tmp_path / "suite").exists()


def test_a_target_that_is_not_there_is_told_before_the_teacher_runs(
    root: Path, write_config: WriteConfig, student_table: StudentTable, tmp_path: Path, call: Call
) -> None:
    path = config_file(write_config, [student_table()])
    done = call("protocol", "cross-dataset", path, "--root", str(root), "--data-sets", "dtd,food101")
    assert done.returncode == 2 and "food101" in done.stderr
    assert not list((tmp_path / "suite").rglob("store.zarr"))


@pytest.mark.parametrize(
    ("arguments", "changes", "message"),
    [
        (["everything", "CONFIG"], {}, "found the protocol everything, expected one of base-to-new"),
        (["base-to-new", "CONFIG", "--data-sets", "dtdd"], {}, "did you mean 'dtd'"),
        (["base-to-new", "CONFIG"], {"store": {"path": "/shared/store.zarr"}}, "one for 11 data sets"),
        (
            ["cross-dataset", "CONFIG"],
            {"student": [{"learner_options": {"coop": {"class_specific": True}}}]},
            "class_specific contexts know their own classes only",
        ),
    ],
)
def test_a_suite_that_makes_no_sense_is_refused(
    arguments: list[str],
    changes: dict[str, Any],
    message: str,
    write_config: WriteConfig,
    student_table: StudentTable,
    root: Path,
    call: Call,
) -> None:
    tables = [student_table(**table) for table in changes.pop("student", [{}])]
    path = config_file(write_config, tables, **changes)
    done = call("protocol", *(path if one == "CONFIG" else one for one in arguments), "--root", str(root))
    assert done.returncode == 2
    assert message in done.stderr
