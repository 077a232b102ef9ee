"""Tables that start from other tables: which students go together, what is refused, and in which order they run."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.students.checked import plan_by_id, student_plans
from fdbpl.pipeline.students.plan import stages

MakeConfig = Callable[..., RunConfig]
StudentTable = Callable[..., dict[str, Any]]


@pytest.fixture
def first(student_table: StudentTable) -> dict[str, Any]:
    return student_table(name="first", seeds=[1, 2])


def test_a_student_starts_from_the_one_of_its_learner_and_seed(
    make_config: MakeConfig, student_table: StudentTable, first: dict[str, Any]
) -> None:
    second = student_table(name="second", starts_from="first", objective=["kdpl", "fdbpl"], seeds=[2, 1])
    third = student_table(name="third", starts_from="first", objective="cross_entropy", supervision="hard")
    plans = student_plans(make_config(student=[second, first, third]))
    assert {plan.id: plan.starts_from for plan in plans} == {
        "second-coop-kdpl-cached-seed2": "first-coop-kdpl-cached-seed2",
        "second-coop-kdpl-cached-seed1": "first-coop-kdpl-cached-seed1",
        "second-coop-fdbpl-cached-seed2": "first-coop-kdpl-cached-seed2",
        "second-coop-fdbpl-cached-seed1": "first-coop-kdpl-cached-seed1",
        "first-coop-kdpl-cached-seed1": "",
        "first-coop-kdpl-cached-seed2": "",
        "third-coop-cross_entropy-hard-seed1": "first-coop-kdpl-cached-seed1",
    }


def test_stages_follow_the_chain_whatever_the_order_of_the_tables(
    make_config: MakeConfig, student_table: StudentTable, first: dict[str, Any]
) -> None:
    last = student_table(name="last", starts_from="middle", seeds=[2])
    middle = student_table(name="middle", starts_from="first", seeds=[2, 1])
    alone = student_table(name="alone")
    config = make_config(student=[last, middle, first, alone])
    plans = student_plans(config)
    assert [[plan.id for plan in stage] for stage in stages(plans)] == [
        ["first-coop-kdpl-cached-seed1", "first-coop-kdpl-cached-seed2", "alone-coop-kdpl-cached-seed1"],
        ["middle-coop-kdpl-cached-seed2", "middle-coop-kdpl-cached-seed1"],
        ["last-coop-kdpl-cached-seed2"],
    ]
    assert [[plan.id for plan in stage] for stage in stages(plans[:2])] == [
        ["middle-coop-kdpl-cached-seed2"],
        ["last-coop-kdpl-cached-seed2"],
    ]
    assert stages([]) == []
    by_id = plan_by_id(config, "last-coop-kdpl-cached-seed2")
    assert (by_id.starts_from, by_id.stage) == ("middle-coop-kdpl-cached-seed2", 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"starts_from": "frist"},
            "student second-coop-kdpl-cached-seed1: found starts_from = 'frist', expected the `name` of another "
            "[[student]] table (first): ",
        ),
        (
            {"starts_from": "first", "seeds": [3]},
            "found starts_from = 'first', a name under which there are first-coop-kdpl-cached-seed1, "
            "first-coop-kdpl-cached-seed2, expected exactly one student of the learner coop and the seed 3",
        ),
        ({"starts_from": "second"}, "second-coop-kdpl-cached-seed1 <- second-coop-kdpl-cached-seed1"),
        ({"starts_from": "first", "model": "fdbpl-tiny-teacher"}, "found model = 'fdbpl-tiny-teacher'"),
        ({"starts_from": "first", "pretrained": "models/teacher.safetensors"}, "teacher.safetensors', expected '"),
        ({"starts_from": "first", "precision": "bf16"}, "found precision = 'bf16', expected 'fp32' as there"),
        ({"starts_from": "first", "classes": "all"}, "found classes = 'all', expected 'base' as there"),
        (
            {"starts_from": "first", "learner_options": {"coop": {"context": "an image of the"}}},
            "found the positive prompt to begin as 'an image of the', expected 'a photo of a' as there",
        ),
        (
            {"starts_from": "duals", "objective": "fdbpl", "learner_options": {"coop": {"negative_context": "no"}}},
            "found the negative prompt to begin as 'no', expected 'a photo of no' as there",
        ),
    ],
)
def test_what_cannot_start_is_refused_with_the_reason(
    changes: dict[str, Any],
    message: str,
    make_config: MakeConfig,
    student_table: StudentTable,
    first: dict[str, Any],
) -> None:
    tables = [student_table(name="second", **changes), first]
    if changes["starts_from"] == "duals":
        tables.append(student_table(name="duals", objective="fdbpl"))
    config = make_config(student=tables)
    with pytest.raises(ValueError, match=re.escape(message)):
        student_plans(config)
    student_id = f"second-coop-{changes.get('objective', 'kdpl')}-cached-seed{changes.get('seeds', [1])[0]}"
    with pytest.raises(ValueError, match=re.escape(message)):
        plan_by_id(config, student_id)


def test_no_table_with_a_name_to_start_from_is_told(make_config: MakeConfig, student_table: StudentTable) -> None:
    tables = [student_table(), student_table(objective="fdbpl", starts_from="coop")]
    with pytest.raises(ValueError, match=re.escape("[[student]] table (none has one): give the table to start from")):
        student_plans(make_config(student=tables))


def test_several_to_start_from_are_named(make_config: MakeConfig, student_table: StudentTable) -> None:
    many = student_table(name="many", objective=["kdpl", "fdbpl"], supervision=["cached", "online"])
    with pytest.raises(ValueError, match=r"many-coop-kdpl-cached-seed1, .* expected exactly one .* of their own"):
        student_plans(make_config(student=[many, student_table(name="second", starts_from="many")]))


def test_a_circle_is_refused_and_shown(make_config: MakeConfig, student_table: StudentTable) -> None:
    tables = [student_table(name=name, starts_from=source) for name, source in (("a", "b"), ("b", "c"), ("c", "b"))]
    shown = r"\(b-coop-kdpl-cached-seed1 <- c-coop-kdpl-cached-seed1 <- b-coop-kdpl-cached-seed1"
    with pytest.raises(ValueError, match=shown):
        student_plans(make_config(student=tables))


def test_a_negative_prompt_need_not_be_learned_where_it_starts(
    make_config: MakeConfig, student_table: StudentTable, first: dict[str, Any]
) -> None:
    """The single source's own negative words are not used, so they may be any; the other way the prompt is left."""
    words = {"coop": {"negative_context": "no"}}
    second = student_table(name="second", starts_from="first", objective="fdbpl", learner_options=words)
    third = student_table(name="third", starts_from="second")
    assert [plan.stage for plan in student_plans(make_config(student=[first, second, third]))] == [1, 1, 2, 3]


def test_the_same_weights_in_another_file_are_the_same(
    make_config: MakeConfig, student_table: StudentTable, first: dict[str, Any], shared: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "moved.safetensors"
    moved.write_bytes((shared / "models" / "student.safetensors").read_bytes())
    second = student_table(name="second", starts_from="first", pretrained=str(moved))
    assert student_plans(make_config(student=[first, second]))[2].starts_from == "first-coop-kdpl-cached-seed1"
