"""What a chain is: its order, what it refuses, and that a later process finds the same chain."""

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fdbpl.slurm.chain import Chain, Step, Todo, chain_file, load_chain, resolve
from fdbpl.slurm.profile import Profile
from fdbpl.slurm.resources import Resources


def step(name: str, *after: str, **changes: Any) -> Step:
    return Step(**{"name": name, "function": "os:getcwd", "todo": "os:getcwd", "after": after, **changes})


def names(chain: Chain) -> list[str]:
    return [one.name for one in chain.steps]


def test_a_saved_chain_is_the_same_chain(tmp_path: Path) -> None:
    profile = Profile.model_validate(
        {"account": "us", "extra": {"nice": 10}, "steps": {"a": {"setup": ["x"]}}, "retry": {"max_minutes": 7}}
    )
    first = step("a", finish="os:getpid", needs_all=False, per_job=3, unit="views", resources=Resources(gpus=1))
    chain = Chain(
        folder=tmp_path / "run",
        steps=(first, step("b", "a", resources=Resources(max_parallel=4, minutes=2.5))),
        environment={"A": "b c\nd"},
        profile=profile,
        check_resources=Resources(memory_gb=1.5),
        fatal=("ValueError",),
    )
    chain.save()
    assert load_chain(tmp_path / "run") == chain
    assert str(tmp_path) not in chain_file(chain.folder).read_text(), "the folder may be moved"
    (tmp_path / "run").rename(tmp_path / "moved")
    moved = load_chain(tmp_path / "moved")
    assert moved is not None
    assert (moved.folder, moved.steps) == (tmp_path / "moved", chain.steps)


def test_where_nothing_was_saved_there_is_no_chain(tmp_path: Path) -> None:
    assert load_chain(tmp_path) is None


def test_a_folder_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Chain(folder=Path("run"), steps=()).folder == tmp_path / "run"


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([step("a"), step("a")], "found 'a' after ['a'], expected a new name that comes after nothing"),
        ([step("b", "a"), step("a")], "found 'b' after [], expected a new name that comes after a"),
        ([step("a", "a")], "found 'a' after [], expected a new name that comes after a"),
        ([step("a b")], "Stage.name: found 'a b'"),
        ([step("a", function="getcwd")], "Stage.function: found 'getcwd'"),
    ],
)
def test_steps_that_make_no_chain_are_refused(steps: list[Step], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError) as caught:
        Chain(folder=tmp_path, steps=tuple(steps))
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["check", "teach.check"])
def test_the_names_of_checks_are_taken(name: str) -> None:
    with pytest.raises(ValueError, match="names checking jobs; choose another"):
        step(name)


def test_a_job_runs_one_task_at_least() -> None:
    with pytest.raises(ValueError, match=r"Step\.per_job: found 0, expected at least 1"):
        step("a", per_job=0)


def test_followers_are_all_that_need_a_step(tmp_path: Path) -> None:
    chain = Chain(folder=tmp_path, steps=(step("a"), step("b", "a"), step("c"), step("d", "b", "c"), step("e", "c")))
    assert [one.name for one in chain.followers("a")] == ["b", "d"]
    assert [one.name for one in chain.followers("c")] == ["d", "e"]
    assert chain.followers("e") == []


@pytest.mark.parametrize(
    ("own", "other", "joined"),
    [
        ([step("a"), step("b", "a")], [step("a")], ["a", "b"]),
        ([step("b")], [step("a"), step("b", "a"), step("c", "b")], ["a", "b", "c"]),
        ([step("c")], [step("a"), step("b", "a"), step("c", "b"), step("d", "c")], ["a", "b", "c", "d"]),
        ([step("a")], [], ["a"]),
    ],
)
def test_joined_chains_keep_the_order(own: list[Step], other: list[Step], joined: list[str], tmp_path: Path) -> None:
    mine, theirs = Chain(folder=tmp_path, steps=tuple(own)), Chain(folder=tmp_path, steps=tuple(other))
    found = mine.joined(theirs)
    assert names(found) == joined
    for one in own:  # of a step that both have, this chain's is kept, and waits for what either has it wait for
        waits = {
            name for chain in (mine, theirs) for step in chain.steps if step.name == one.name for name in step.after
        }
        assert found.step(one.name) == replace(one, after=found.step(one.name).after)
        assert set(found.step(one.name).after) == waits


def _todo(folder: Path, environment: Mapping[str, str], name: str) -> Todo:
    return Todo(total=2, missing=(environment["TASK"], name), is_finished=False)


def _finish(folder: Path, environment: Mapping[str, str], name: str) -> dict[str, Any] | None:
    return {"closed": name} if environment else None


def test_steps_are_asked_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "todo", _todo, raising=False)
    monkeypatch.setattr(os, "finish", _finish, raising=False)
    first = step("first", todo="os:todo", finish="os:finish")
    chain = Chain(folder=tmp_path, steps=(first, step("second")), environment={"TASK": "t"})
    assert chain.todo(first).missing == ("t", "first")
    assert chain.finish(first) == {"closed": "first"}
    assert chain.finish(chain.step("second")) == {}
    assert Chain(folder=tmp_path, steps=(first,)).finish(first) == {}
    with pytest.raises(AssertionError, match="os:finish returned dict, expected a Todo"):
        chain.todo(step("third", todo="os:finish"))
    assert resolve("os:path.join") is os.path.join


def test_a_chain_is_plain_json(tmp_path: Path) -> None:
    chain = Chain(folder=tmp_path, steps=(step("a"),))
    chain.save()
    saved = json.loads(chain_file(tmp_path).read_text())
    assert saved["format"] == 1
    assert [one["name"] for one in saved["steps"]] == ["a"]
