from pathlib import Path

import pytest

from fdbpl.slurm.paths import file_name
from fdbpl.slurm.resources import Resources
from fdbpl.slurm.stage import Stage, TaskCall


def stage(**changes: object) -> Stage:
    values = {"name": "teach", "function": "some.module:run", "folder": Path("/runs/a"), "task_ids": ("0.0",)}
    return Stage(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "../up"}, r"Stage\.name: found '\.\./up'"),
        ({"name": "-x"}, r"Stage\.name"),
        ({"name": "two words"}, r"Stage\.name"),
        (
            {"function": "some.module.run"},
            r"Stage\.function: found 'some\.module\.run', expected 'module:attr",
        ),
        ({"function": "os;x:run"}, r"Stage\.function"),
        ({"task_ids": ("a", "b", "a")}, r"'a' is there twice"),
        ({"task_ids": ("",)}, r"found ''"),
        ({"task_ids": ("jobs",)}, r"'jobs' is taken"),
        ({"task_ids": ("x" * 201,)}, r"too long"),
        ({"environment": {"A B": "1"}}, r"found the name 'A B'"),
        ({"environment": {"A": "1\0"}}, r"Stage\.environment\['A'\]"),
    ],
)
def test_a_wrong_field_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        stage(**changes)


def test_a_relative_folder_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert stage(folder=Path("-run")).folder == tmp_path / "-run"


def test_threads_follow_the_cores_unless_the_stage_says_otherwise() -> None:
    assert stage(resources=Resources(cpus=3)).task_environment() == {"OMP_NUM_THREADS": "3"}
    assert stage(environment={"OMP_NUM_THREADS": "1"}).task_environment() == {"OMP_NUM_THREADS": "1"}


def test_a_call_holds_four_texts_and_survives_json() -> None:
    call = stage().call("0.0")
    assert call == TaskCall(function="some.module:run", folder="/runs/a", stage="teach", task_id="0.0")
    assert TaskCall.from_json(call.to_json()) == call


def test_a_call_may_carry_variables() -> None:
    call = stage(environment={"A": "1"}).call("0.0")
    assert call.environment == {}
    carrying = call.with_environment({"A": "x y'\"\n"})
    assert TaskCall.from_json(carrying.to_json()).environment == {"A": "x y'\"\n"}
    assert "\n" not in carrying.to_json()


@pytest.mark.parametrize(
    ("task_id", "name"),
    [
        ("3.0", "3.0"),
        ("coop/seed 1", "coop%2Fseed%201"),
        ("../../etc/passwd", "%2E.%2F..%2Fetc%2Fpasswd"),
        (".hidden", "%2Ehidden"),
        ("-x", "-x"),
        ("50%", "50%25"),
        ("ü", "%C3%BC"),
    ],
)
def test_task_ids_become_plain_file_names(task_id: str, name: str) -> None:
    assert file_name(task_id) == name
    assert stage(task_ids=(task_id,)).paths.record(task_id) == Path("/runs/a/records/teach") / f"{name}.json"
