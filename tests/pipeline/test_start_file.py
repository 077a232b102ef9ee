"""Students that begin with a file of prompts: from another run, or imported; and what of such files is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from vit_files import vit_files

from fdbpl.pipeline.config import ModelConfig, RunConfig
from fdbpl.pipeline.data.load import load_data
from fdbpl.pipeline.run_folder import RunFolder
from fdbpl.pipeline.students.checked import student_plans
from fdbpl.pipeline.training.checkpoint import prompts_digest, read_prompts
from fdbpl.pipeline.training.dry_build import check_learners
from fdbpl.pipeline.training.student_record import student_identity
from fdbpl.pipeline.training.student_run import run_student
from fdbpl.pipeline.use.public_checkpoint import import_checkpoint

MakeConfig = Callable[..., RunConfig]
# Hardly moves from where it starts.
STILL = {
    "epochs": 1,
    "optim": {"optimizer": "sgd", "learning_rate": 1e-12, "warmup_learning_rate": 1e-12, "weight_decay": 0.0},
}


@pytest.fixture
def config_of(taught: RunConfig, make_config: MakeConfig, student_table: Callable[..., dict[str, Any]]) -> MakeConfig:
    """Makes a config with one table of students, with changes to it, and other changes beside."""

    def make(run: dict[str, Any] | None = None, **changes: Any) -> RunConfig:
        return make_config(student=[student_table(**changes)], **(run or {})).model_copy(update={"store": taught.store})

    return make


def trained(config: RunConfig, folder: Path) -> Path:
    """The prompts of the config's only student, trained in a run folder of its own."""
    config = config.model_copy(update={"folder": folder})
    (plan,) = student_plans(config)
    run_student(config, plan)
    return RunFolder(folder).student(plan.id).prompts_file


def prompts_in(path: Path) -> dict[str, Tensor]:
    return read_prompts(path)[0]


def refusal(config: RunConfig) -> str:
    """Told before anything runs, and by a task as well."""
    with pytest.raises(ValueError) as early:
        check_learners(config, load_data(config.data), student_plans(config))
    return str(early.value)


def test_it_begins_with_the_prompts_of_another_run(config_of: MakeConfig, tmp_path: Path) -> None:
    first = trained(config_of(views="informative"), tmp_path / "first")
    second = trained(config_of(objective="fdbpl", prompts=str(first), **STILL), tmp_path / "second")
    alone = trained(config_of(objective="fdbpl", **STILL), tmp_path / "alone")
    torch.testing.assert_close(prompts_in(second)["positive"], prompts_in(first)["positive"], rtol=0, atol=1e-6)
    assert (prompts_in(alone)["positive"] - prompts_in(first)["positive"]).abs().max() > 1e-3
    # The negative prompt, which the first has not, begins with its own words.
    torch.testing.assert_close(prompts_in(second)["negative"], prompts_in(alone)["negative"], rtol=0, atol=1e-6)
    record = json.loads(second.with_name("record.json").read_text())
    assert record["starts_from"] == {"prompts": prompts_digest(prompts_in(first))}


def test_it_begins_with_imported_prompts(config_of: MakeConfig, taught: RunConfig, tmp_path: Path) -> None:
    context = torch.randn(4, 64, generator=torch.Generator().manual_seed(0)).half()
    torch.save({"state_dict": {"ctx": context, "token_prefix": torch.zeros(2, 1, 64)}, "epoch": 50}, tmp_path / "m.pth")
    student = taught.student[0]
    model = ModelConfig(model=student.model, pretrained=student.pretrained)
    import_checkpoint(tmp_path / "m.pth", tmp_path / "p.safetensors", model=model, class_names=("red circle", "dog"))
    table = {"prompts": str(tmp_path / "p.safetensors"), **STILL}
    found = trained(config_of(**table), tmp_path / "run")
    torch.testing.assert_close(prompts_in(found)["positive"], context.float(), rtol=0, atol=1e-6)
    # In which precision they were learned nobody has said.
    assert student_plans(config_of(precision="bf16", **table))
    with pytest.raises(ValueError, match=r"found pretrained = .*teacher\.safetensors', sha256:.* expected sha256:"):
        student_plans(config_of(pretrained="models/teacher.safetensors", **table))


def test_it_is_trained_anew_when_the_file_is_another(config_of: MakeConfig, tmp_path: Path) -> None:
    first = trained(config_of(epochs=1), tmp_path / "first")
    moved = tmp_path / "moved.safetensors"
    moved.write_bytes(first.read_bytes())
    data = load_data(config_of().data)

    def identity(path: Path) -> dict[str, Any]:
        config = config_of(prompts=str(path))
        return student_identity(config, student_plans(config)[0], data)

    assert identity(moved) == identity(first)
    assert identity(trained(config_of(epochs=2), tmp_path / "other")) != identity(first)


@pytest.fixture
def first(config_of: MakeConfig, tmp_path: Path) -> Path:
    """Prompts of a student of the base half."""
    return trained(config_of(epochs=1), tmp_path / "first")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"learner": "cocoop"},
            "found learner = 'cocoop', expected 'coop' as there, for each learner has prompts of its own",
        ),
        (
            {"model": "fdbpl-tiny-teacher", "pretrained": "models/teacher.safetensors"},
            "found model = 'fdbpl-tiny-teacher', expected 'fdbpl-tiny-student' as there, for prompts mean",
        ),
        ({"precision": "bf16"}, "found precision = 'bf16', expected 'fp32' as there, for prompts mean something only"),
        (
            {"pretrained": "models/teacher.safetensors"},
            "the weights that learned them, for prompts mean something only",
        ),
        (
            {"learner_options": {"coop": {"context": "an image of a small"}}},
            "found prompts of shapes {'positive': (4, 64)} to start from, expected {'positive': (5, 64)}: use the same",
        ),
    ],
)
def test_a_file_that_does_not_suit_is_refused(
    changes: dict[str, Any], message: str, first: Path, config_of: MakeConfig
) -> None:
    found = refusal(config_of(prompts=str(first), **changes))
    learner = changes.get("learner", "coop")
    assert found.startswith(f"student {learner}-kdpl-cached-seed1 starts from {first}: found ")
    assert message in found


def test_prompts_that_have_seen_the_new_classes_are_refused(config_of: MakeConfig, tmp_path: Path) -> None:
    everything = trained(config_of(classes="all", epochs=1), tmp_path / "all")
    told = refusal(config_of(prompts=str(everything)))
    assert "found prompts that have learned from all 32 classes of world, expected none that know the new ones" in told
    config = config_of(prompts=str(everything))
    with pytest.raises(ValueError, match="expected none that know the new ones"):
        run_student(config, student_plans(config)[0])
    check_learners(config_of(prompts=str(everything), classes="all"), load_data(config.data), [])


def test_contexts_of_other_classes_are_refused(config_of: MakeConfig, tmp_path: Path) -> None:
    few_shot = {"evaluate": {"protocol": "few-shot"}}
    specific = {"classes": "all", "learner_options": {"coop": {"class_specific": True}}}
    own = trained(config_of(run=few_shot, epochs=1, **specific), tmp_path / "specific")
    config = config_of(run=few_shot, prompts=str(own), **specific)
    check_learners(config, load_data(config.data), student_plans(config))
    prompts, facts = read_prompts(own)
    facts["use"]["class_names"] = facts["use"]["class_names"][::-1]
    save_file(prompts, own, metadata={"fdbpl": json.dumps(facts)})
    assert "found contexts of 32 classes (" in refusal(config)


@pytest.mark.parametrize("content", [None, b"no safetensors", "other"])
def test_what_is_no_file_of_prompts_is_refused(content: Any, config_of: MakeConfig, tmp_path: Path) -> None:
    path = tmp_path / "prompts.safetensors"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        save_file({"positive": torch.zeros(4, 64)}, path)
    with pytest.raises(ValueError) as caught:
        student_plans(config_of(prompts=str(path)))
    assert str(caught.value).startswith("student coop-kdpl-cached-seed1: found ")
    assert str(caught.value).endswith("expected prompts: `fdbpl train` and `fdbpl import-prompts` write them")


def test_a_file_that_says_nothing_of_its_use_is_compared_by_shapes(first: Path, config_of: MakeConfig) -> None:
    prompts, _ = read_prompts(first)
    save_file(prompts, first, metadata={"fdbpl": "{}"})
    config = config_of(prompts=str(first))
    check_learners(config, load_data(config.data), student_plans(config))
    options = {"coop": {"context": "an image of a small"}}
    assert "found prompts of shapes" in refusal(config_of(prompts=str(first), learner_options=options))


def test_other_learners_begin_with_a_file_too(config_of: MakeConfig, tmp_path: Path) -> None:
    model = vit_files(tmp_path, "start-vit", layers=2)
    table = {"learner": "maple", "learner_options": {"maple": {"depth": 2}}, "features": "live", **model}
    source = trained(config_of(epochs=1, **table), tmp_path / "source")
    found = trained(config_of(prompts=str(source), **{**table, **STILL}), tmp_path / "run")
    expected = prompts_in(source)
    assert set(prompts_in(found)) == set(expected) and "maps.1.weight" in expected
    for name, value in prompts_in(found).items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=1e-6)
