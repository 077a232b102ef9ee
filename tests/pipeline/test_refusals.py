"""What makes no sense is refused before anything runs, with the reason; all else is let through."""

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest

from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.data.load import load_data
from fdbpl.pipeline.learners.catalog import LEARNERS
from fdbpl.pipeline.objectives.catalog import OBJECTIVES
from fdbpl.pipeline.students.checked import student_plans
from fdbpl.pipeline.students.plan import list_plans
from fdbpl.pipeline.students.refusals import check_student
from fdbpl.pipeline.training.student_record import student_identity

MakeConfig = Callable[..., RunConfig]
StudentTable = Callable[..., dict[str, Any]]
LEARNS_TEXT = {"coop": True, "cocoop": True, "vpt": False, "maple": True, "promptsrc": True, "promptkd": False}
FOLLOWS_TEACHER = {
    "cross_entropy": False,
    "pseudo_labels": True,
    "kdpl": True,
    "kdpl_ca": True,
    "promptkd": True,
    "fdbpl": True,
}


def refusal(config: RunConfig) -> str:
    with pytest.raises(ValueError) as caught:
        student_plans(config)
    return str(caught.value)


def test_every_learner_goes_with_every_objective_from_any_supervision_that_can_serve_it(
    make_config: MakeConfig, student_table: StudentTable, tmp_path: Any
) -> None:
    (tmp_path / "names.txt").write_text("red\nblue\n")
    assert set(LEARNERS) == set(LEARNS_TEXT)
    assert set(OBJECTIVES) == set(FOLLOWS_TEACHER)
    refused = {}
    for learner, objective, supervision in product(LEARNERS, OBJECTIVES, ("hard", "online", "cached")):
        table = student_table(learner=learner, objective=objective, supervision=supervision)
        config = make_config(
            student=[table | ({"vocabulary": str(tmp_path / "names.txt")} if objective == "kdpl_ca" else {})]
        )
        (plan,) = list_plans(config)
        try:
            check_student(plan, config)
        except ValueError as error:
            refused[learner, objective, supervision] = str(error).partition(": ")[2]
    expected = {}
    for learner, objective, supervision in product(LEARNERS, OBJECTIVES, ("hard", "online", "cached")):
        if FOLLOWS_TEACHER[objective] == (supervision == "hard"):
            reason = "follows a teacher" if FOLLOWS_TEACHER[objective] else "uses true labels only"
            expected[learner, objective, supervision] = f"the objective {objective} {reason}"
        elif objective == "fdbpl" and not LEARNS_TEXT[learner]:
            reason = f"the objective fdbpl learns negative prompts, but the learner {learner} learns no text"
            expected[learner, objective, supervision] = reason
    assert set(refused) == set(expected)
    assert all(refused[key].startswith(reason) for key, reason in expected.items())
    assert len(refused) == 46 and len(LEARNERS) * len(OBJECTIVES) * 3 == 108


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"objective": "kdpl", "supervision": "hard"},
            "student coop-kdpl-hard-seed1: the objective kdpl follows a teacher, but supervision 'hard' gives labels "
            "only: choose 'cached' or 'online'",
        ),
        (
            {"objective": "cross_entropy", "supervision": "online"},
            "uses true labels only, so the teacher of supervision 'online' would be asked for nothing: choose 'hard'",
        ),
        (
            {"learner": "vpt", "objective": "fdbpl"},
            "the learner vpt learns no text: choose a learner of text, such as coop, or the objective kdpl with "
            'weights = "informative"',
        ),
        (
            {"objective": "kpdl"},
            "found objective = 'kpdl', expected one of cross_entropy, fdbpl, kdpl, kdpl_ca, promptkd",
        ),
        (
            {"learner": "mapel"},
            "found learner = 'mapel', expected one of cocoop, coop, maple, promptkd, promptsrc, vpt",
        ),
        ({"objective_options": {"kdpl": {"temprature": 2}}}, "did you mean 'temperature'"),
        ({"objective_options": {"kdpl": {"temperature": -1}}}, "found temperature = -1.0, expected a positive number"),
        ({"objective_options": {"kdpl": {"temperature": "warm"}}}, "objective kdpl: temperature: Input should be"),
        (
            {"objective_options": {"kdpl": {"direction": "both"}}},
            "objective kdpl: direction: Input should be 'symmetric'",
        ),
        (
            {"objective_options": {"fdbpl": {}}},
            "student.objective_options: found options of fdbpl, expected only those of the table's own objective: kdpl",
        ),
        (
            {"learner_options": {"vpt": {"depth": 1}}},
            "student.learner_options: found options of vpt, expected only those of the table's own learner: coop",
        ),
        ({"learner_options": {"coop": {"words": "a"}}}, "learner coop: found the unknown key 'words'"),
        (
            {"learner_options": {"coop": {"negative_context": "no", "subtract": 0.5}}},
            "student.learner_options.coop: found negative_context, subtract, which shape negative prompts, but no "
            "objective of the table learns any (kdpl): take them out, or choose fdbpl",
        ),
        ({"seeds": [1, 1]}, "found two students named coop-kdpl-cached-seed1, expected each name once"),
        (
            {"objective_options": {"kdpl": {"weights": "shuffled"}}, "batch_size": 1},
            "weights = 'shuffled' gives each crop the weight of another one in its batch, but batch_size = 1: raise",
        ),
        (
            {"learner": "promptkd", "batch_size": 1},
            "batch_size = 1, but the learner promptkd normalises over the batch: set it to 2 or more",
        ),
        (
            {"learner_options": {"coop": {"class_specific": True}}},
            "class_specific contexts know their own classes only, but others are asked for by the protocol "
            "base-to-new: set class_specific = false",
        ),
        (
            {"importance": True},
            "importance = true, which weighs views that were drawn unevenly, but views = 'cycle': set views",
        ),
        ({"importance": True, "views": "curriculum"}, "drawn unevenly, but views = 'curriculum': set views"),
        (
            {"prompts": "models/student.safetensors", "starts_from": "coop"},
            "there are two places to start from, `prompts` and `starts_from`: take one of them out",
        ),
    ],
)
def test_it_is_refused_with_the_reason(
    changes: dict[str, Any], message: str, make_config: MakeConfig, student_table: StudentTable
) -> None:
    tables = [student_table(**changes)]
    tables += [student_table(name="coop")] if "starts_from" in changes else []
    assert message in refusal(make_config(student=tables))


def test_one_crop_of_an_image_leaves_no_choice(make_config: MakeConfig, student_table: StudentTable) -> None:
    for views in ("informative", "curriculum"):
        found = refusal(make_config(student=[student_table(views=views)], crops={"seeds": 1}))
        assert f"views = '{views}' chooses among the crops of an image, but crops.seeds = 1: raise crops.seeds" in found
    assert student_plans(make_config(student=[student_table(views="random")], crops={"seeds": 1}))


@pytest.mark.parametrize("protocol", ["few-shot", "cross-dataset", "domain-generalisation"])
def test_half_of_the_classes_is_for_base_to_new(
    protocol: str, make_config: MakeConfig, student_table: StudentTable
) -> None:
    found = refusal(make_config(student=[student_table()], evaluate={"protocol": protocol}))
    assert f"trains on half of the classes, but the protocol {protocol} asks for all of them: set classes" in found
    specific = student_table(classes="all", learner_options={"coop": {"class_specific": True}})
    config = make_config(student=[specific], evaluate={"protocol": protocol})
    if protocol == "few-shot":
        assert len(student_plans(config)) == 1
    else:
        assert f"others are asked for by the protocol {protocol}: set class_specific = false" in refusal(config)


def test_options_of_negative_prompts_may_serve_a_part_of_a_table(
    make_config: MakeConfig, student_table: StudentTable
) -> None:
    table = student_table(objective=["kdpl", "fdbpl"], learner_options={"coop": {"coupling": "offset"}})
    assert len(student_plans(make_config(student=[table]))) == 2


@pytest.mark.parametrize(
    ("changes", "depends_on"),
    [
        ({"objective": "cross_entropy", "supervision": "hard"}, set()),
        ({"objective": "cross_entropy", "supervision": "hard", "views": "informative"}, {"teacher", "classes"}),
        ({"objective": "cross_entropy", "supervision": "hard", "learner": "promptkd"}, {"teacher", "classes"}),
        ({"objective": "cross_entropy", "supervision": "hard", "learner": "vpt"}, {"template"}),
        ({"objective": "kdpl"}, {"teacher", "classes"}),
        ({"objective": "kdpl", "supervision": "online", "learner": "vpt"}, {"teacher", "classes", "template"}),
    ],
)
def test_a_student_depends_on_what_it_learns_from_and_on_nothing_else(
    changes: dict[str, Any], depends_on: set[str], make_config: MakeConfig, student_table: StudentTable
) -> None:
    """Of the teacher, its prompts, and the data set's hand-written prompt."""
    config = make_config(student=[student_table(**changes)])
    data_section = config.data.model_copy(update={"template": "a drawing of a {}."})
    teacher = config.teacher.model_copy(update={"precision": "bf16", "templates": ("a drawing of a {}.",)})
    other = config.model_copy(update={"data": data_section, "teacher": teacher})
    data = load_data(config.data)
    found, changed = (student_identity(one, list_plans(one)[0], data) for one in (config, other))
    assert set(found) == set(changed)
    assert {key for key in found if found[key] != changed[key]} == depends_on


def test_a_seed_below_zero_is_refused(make_config: MakeConfig, student_table: StudentTable) -> None:
    with pytest.raises(ValueError, match=r"student\.0\.seeds\.0: found -1: Input should be greater than or equal to 0"):
        make_config(student=[student_table(seeds=[-1])])
