from collections.abc import Callable
from typing import Any

import pytest

from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.students.checked import plan_by_id, student_plans

MakeConfig = Callable[..., RunConfig]
StudentTable = Callable[..., dict[str, Any]]


def test_lists_make_a_grid(make_config: MakeConfig, student_table: StudentTable) -> None:
    table = student_table(objective=["kdpl", "fdbpl"], supervision=["cached", "online"], seeds=[1, 2])
    assert [plan.id for plan in student_plans(make_config(student=[table]))] == [
        "coop-kdpl-cached-seed1",
        "coop-kdpl-cached-seed2",
        "coop-kdpl-online-seed1",
        "coop-kdpl-online-seed2",
        "coop-fdbpl-cached-seed1",
        "coop-fdbpl-cached-seed2",
        "coop-fdbpl-online-seed1",
        "coop-fdbpl-online-seed2",
    ]


def test_a_plan_is_found_by_its_id_and_has_its_own_options(
    make_config: MakeConfig, student_table: StudentTable
) -> None:
    table = student_table(name="cold", objective=["kdpl", "fdbpl"], objective_options={"kdpl": {"temperature": 2.0}})
    plan = plan_by_id(make_config(student=[table]), "cold-coop-kdpl-cached-seed1")
    assert plan.choices()["objective_options"] == {"temperature": 2.0}
    assert plan.choices()["seed"] == 1


def test_a_student_is_the_same_whichever_way_its_loss_is_computed(
    make_config: MakeConfig, student_table: StudentTable
) -> None:
    tables = [student_table(), student_table(objective_options={"kdpl": {"fused": False}})]
    one, other = (plan_by_id(make_config(student=[table]), "coop-kdpl-cached-seed1") for table in tables)
    assert one.choices() == other.choices()
    assert one.make_objective() != other.make_objective()


def test_a_task_checks_its_own_student(make_config: MakeConfig, student_table: StudentTable) -> None:
    config = make_config(student=[student_table(), student_table(name="bad", supervision="hard")])
    assert plan_by_id(config, "coop-kdpl-cached-seed1").seed == 1
    with pytest.raises(ValueError, match="follows a teacher"):
        plan_by_id(config, "bad-coop-kdpl-hard-seed1")
    with pytest.raises(ValueError, match=r"found no student 'x' .* expected one of coop-kdpl-cached-seed1, bad"):
        plan_by_id(config, "x")
