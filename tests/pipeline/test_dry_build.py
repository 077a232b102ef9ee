"""Learners that a model has no place for are told before the teacher runs, without any weights."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fdbpl.pipeline.clip.blank import blank_backbone
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.data.load import load_data
from fdbpl.pipeline.learners.coop import CoOpOptions
from fdbpl.pipeline.progress import Ui
from fdbpl.pipeline.run.workflow import Workflow
from fdbpl.pipeline.students.checked import student_plans
from fdbpl.pipeline.training.dry_build import check_learners

MakeConfig = Callable[..., RunConfig]
StudentTable = Callable[..., dict[str, Any]]


def check(config: RunConfig, rename: Callable[[str], str] = str) -> None:
    data = load_data(config.data)
    renamed = replace(data, class_names=tuple(map(rename, data.class_names)))
    check_learners(config, renamed, student_plans(config))


@pytest.mark.parametrize(
    ("model", "learner", "options", "message"),
    [
        ("fdbpl-tiny-student", "vpt", {}, "found the image encoder ModifiedResNet in fdbpl-tiny-student, expected"),
        ("RN50", "maple", {}, "student maple-kdpl-cached-seed1: found the image encoder ModifiedResNet in RN50"),
        (
            "ViT-B-32",
            "vpt",
            {"depth": 13},
            "found depth = 13, expected 1 to 12, the number of layers of the image encoder",
        ),
        (
            "ViT-B-32",
            "promptkd",
            {"depth": 13},
            "found depth = 13, expected 1 to 12, the number of layers of the image",
        ),
        ("ViT-B-32", "promptsrc", {"text_depth": 13}, "found text_depth = 13, expected 1 to 12, the number of layers"),
        (
            "ViT-B-32",
            "maple",
            {"num_context": 9},
            "found num_context = 9 for the words 'a photo of a', whose words end",
        ),
        ("ViT-B-32", "coop", {"context": "a " * 80}, "tokens, expected at most 77, the context length of ViT-B-32"),
        ("coca_ViT-B-32", "coop", {}, "expected a CLIP with its own causal text tower"),
        ("coca_ViT-B-32", "cocoop", {"context": ""}, "expected a CLIP with its own causal text tower"),
    ],
)
def test_a_model_without_a_place_for_prompts_is_told(
    model: str,
    learner: str,
    options: dict[str, Any],
    message: str,
    make_config: MakeConfig,
    student_table: StudentTable,
) -> None:
    table = student_table(model=model, learner=learner, learner_options={learner: options}, pretrained="nowhere")
    with pytest.raises(ValueError) as caught:
        check(make_config(student=[table]))
    assert message in str(caught.value)


def test_every_learner_is_built_in_its_published_form(make_config: MakeConfig, student_table: StudentTable) -> None:
    table = student_table(model="ViT-B-16", pretrained="openai", objective="fdbpl")
    learners = ["coop", "cocoop", "maple", "promptsrc"]
    others = student_table(model="ViT-B-16", pretrained="openai", learner=["vpt", "promptkd"], objective="promptkd")
    check(make_config(student=[table | {"learner": learners}, others]))


def test_names_too_long_for_the_context_are_told(make_config: MakeConfig, student_table: StudentTable) -> None:
    """A name of 22 words and 4 of the context, with start, stop and end: 29 tokens."""
    with pytest.raises(ValueError, match=r"the prompt of class 'red.*' has 29 tokens, expected at most 24"):
        check(make_config(student=[student_table()]), rename=lambda name: f"{name}{' red' * 20}")


def test_each_kind_is_built_once(
    make_config: MakeConfig, student_table: StudentTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = []
    build = CoOpOptions.build
    monkeypatch.setattr(CoOpOptions, "build", lambda self, context: built.append(context.dual) or build(self, context))
    table = student_table(objective=["kdpl", "fdbpl"], supervision=["cached", "online"], seeds=[1, 2, 3], shots=[1, 2])
    check(make_config(student=[table]))
    assert built == [False, True]


def test_an_unknown_model_is_told() -> None:
    with pytest.raises(ValueError, match="found the model name 'ViT-B-33', expected one that open_clip knows"):
        blank_backbone("ViT-B-33")


def test_a_plan_and_a_training_tell_it(
    taught: RunConfig, make_config: MakeConfig, student_table: StudentTable, write_config: Any, call: Any
) -> None:
    table = student_table(learner="vpt")
    write_config(student=[table])
    planned = call("plan", "run.toml")
    assert planned.returncode == 2
    assert "student vpt-kdpl-cached-seed1: found the image encoder ModifiedResNet" in planned.stderr
    config = make_config(student=[table]).model_copy(update={"store": taught.store})
    with pytest.raises(ValueError, match="found the image encoder ModifiedResNet"):
        Workflow(config, Ui(quiet=True), command="fdbpl train").train()
    assert not config.folder.exists()
