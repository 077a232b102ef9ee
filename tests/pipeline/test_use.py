"""Trained prompts by themselves: exported for plain open_clip, asked about images, imported from public code."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.run_folder import RunFolder
from fdbpl.pipeline.students.checked import student_plans
from fdbpl.pipeline.training.saved_learner import load_learner
from fdbpl.pipeline.training.student_run import run_student
from fdbpl.pipeline.use.restricted_load import load_checkpoint

DOCS = Path(__file__).parents[2] / "docs"
MakeConfig = Callable[..., RunConfig]
Call = Callable[..., Any]


@pytest.fixture
def prompts(taught: RunConfig, make_config: MakeConfig, student_table: Callable[..., dict[str, Any]]) -> Path:
    """The prompts of an fdbpl student."""
    config = make_config(student=[student_table(objective="fdbpl", epochs=1)])
    config = config.model_copy(update={"store": taught.store})
    (plan,) = student_plans(config)
    run_student(config, plan)
    return RunFolder(config.folder).student(plan.id).prompts_file


@pytest.fixture
def image(shared: Path) -> Path:
    return sorted((shared / "world" / "images").rglob("test_*.jpg"))[0]


def test_the_ten_lines_of_the_docs_say_what_predict_says(
    prompts: Path, image: Path, shared: Path, tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """open_clip's own model and transform with the exported matrix."""
    exported = call("export", str(prompts), "--out", "classifier.npy", "--json")
    assert exported.returncode == 0, exported.stderr
    told = json.loads(exported.stdout)
    assert (told["classes"], told["model"]) == (16, "fdbpl-tiny-student")
    shutil.copy(image, tmp_path / "photo.jpg")
    (lines,) = re.findall(r"```python\n(.*?)```", (DOCS / "prompts.md").read_text(), flags=re.DOTALL)
    model = '"ViT-B-32-quickgelu", pretrained="openai"'
    assert model in lines
    checkpoint = shared / "models" / "student.safetensors"
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    exec(lines.replace(model, f'"fdbpl-tiny-student", pretrained="{checkpoint}"'), found)

    predicted = call("predict", "photo.jpg", "--prompts", str(prompts), "--top", "3", "--json")
    assert predicted.returncode == 0, predicted.stderr
    (one,) = json.loads(predicted.stdout)["predictions"]
    best = found["probs"].topk(3)
    assert [told["name"] for told in one["classes"]] == [found["names"][place] for place in best.indices]
    assert [told["probability"] for told in one["classes"]] == pytest.approx(best.values.tolist(), abs=2e-3)
    assert 0 <= one["accepted"] <= 1


def test_all_prompts_are_exported_for_any_names(prompts: Path, tmp_path: Path, call: Call) -> None:
    (tmp_path / "names.txt").write_text("red circle\n\nsome new thing\n")
    assert call("export", str(prompts), "--out", "c.safetensors", "--classes", "names.txt").returncode == 0
    found = load_file(tmp_path / "c.safetensors")
    learner, _ = load_learner(prompts)
    expected = learner.classifier(["red circle", "some new thing"])
    assert set(found) == {"classifier", "negative"}
    assert all(torch.equal(found[name], expected[name]) for name in found)


def test_images_that_cannot_be_read_are_told_beside_the_others(
    prompts: Path, image: Path, tmp_path: Path, call: Call
) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    done = call("predict", "bad.jpg", str(image), "gone.jpg", "--prompts", str(prompts))
    lines = done.stdout.splitlines()
    assert done.returncode == 1
    assert [line.partition(": ")[0] for line in lines] == ["bad.jpg", str(image), "gone.jpg"]
    assert ["cannot be read" in line for line in lines] == [True, False, True]


def test_an_image_that_is_named_twice_is_told_twice(prompts: Path, image: Path, tmp_path: Path, call: Call) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    named = ["bad.jpg", str(image), "bad.jpg", str(image)]
    done = call("predict", *named, "--prompts", str(prompts), "--json")
    found = json.loads(done.stdout)["predictions"]
    assert [one["image"] for one in found] == named
    assert ["error" in one for one in found] == [True, False, True, False]
    assert found[1] == found[3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["export", "PROMPTS", "--out", "c.csv"], "expected a file that ends in .safetensors or .npy"),
        (["export", "absent", "--out", "c.npy"], "found no file absent, expected prompts"),
        (["export", "PROMPTS", "--out", "c.npy", "--classes", "absent"], "cannot read absent"),
        (["export", "PROMPTS", "--out", "c.npy", "--pretrained", "absent"], "expected an existing checkpoint file"),
    ],
)
def test_wrong_input_is_told(arguments: list[str], message: str, prompts: Path, call: Call) -> None:
    done = call(*(str(prompts) if one == "PROMPTS" else one for one in arguments))
    assert done.returncode == 2
    assert message in done.stderr


def public(path: Path, width: int, **changes: Any) -> Path:
    state = {"ctx": torch.randn(4, width).half(), "token_prefix": torch.zeros(2, 1, width), **changes}
    torch.save({"state_dict": state, "epoch": 50, "val_result": None}, path)
    return path


def import_call(call: Call, shared: Path, *more: str) -> Any:
    weights = str(shared / "models" / "student.safetensors")
    model = [
        "--model",
        "fdbpl-tiny-student",
        "--pretrained",
        weights,
        "--classes",
        "names.txt",
        "--out",
        "p.safetensors",
    ]
    return call("import-prompts", "model.pth.tar-50", *model, *more)


def test_public_prompts_are_imported_and_serve_like_our_own(
    image: Path, shared: Path, tmp_path: Path, call: Call
) -> None:
    (tmp_path / "names.txt").write_text("red circle\nblue star\n")
    context = load_checkpoint(public(tmp_path / "model.pth.tar-50", 64))["state_dict"]["ctx"].float()
    done = import_call(call, shared)
    assert done.returncode == 0, done.stderr
    learner, use = load_learner(tmp_path / "p.safetensors")
    assert use.class_names == ("red circle", "blue star")
    assert torch.equal(learner.state_dict()["positive"], context)
    assert call("predict", str(image), "--prompts", "p.safetensors").returncode == 0


def test_public_prompts_of_another_kind_are_refused(shared: Path, tmp_path: Path, call: Call) -> None:
    (tmp_path / "names.txt").write_text("red circle\nblue star\n")
    public(tmp_path / "model.pth.tar-50", 64, proj=torch.zeros(3))
    assert "found the tensors ctx, token_prefix, proj, expected ctx" in import_call(call, shared).stderr
    public(tmp_path / "model.pth.tar-50", 48)
    assert "found tensors {'positive': (4, 48)}, expected {'positive': (4, 64)}" in import_call(call, shared).stderr
    assert "expected one of coop, cocoop" in import_call(call, shared, "--learner", "maple").stderr
    assert not (tmp_path / "p.safetensors").exists()
