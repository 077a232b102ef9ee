from pathlib import Path

import pytest
import torch

from fdbpl.pipeline.checkpoint import load_into, read_prompts, save_prompts
from fdbpl.pipeline.clip.backbone import Backbone, load_backbone
from fdbpl.pipeline.clip.zero_shot import text_classifier
from fdbpl.pipeline.config import ModelConfig
from fdbpl.pipeline.learners.coop import CoOp, CoOpOptions
from fdbpl.pipeline.values import Views

NAMES = ("red circle", "green square", "blue star")


@pytest.fixture(scope="module")
def student(shared: Path) -> Backbone:
    return load_backbone(
        ModelConfig(model="fdbpl-tiny-student", pretrained=str(shared / "models" / "student.safetensors"))
    )


def views(student: Backbone, count: int = 5) -> Views:
    features = torch.nn.functional.normalize(
        torch.randn(count, student.embedding_width, generator=torch.Generator().manual_seed(1)), dim=-1
    )
    ids = torch.arange(count)
    return Views(image_ids_B=ids, seeds_B=ids, labels_B=ids, features_BD=features)


def test_untrained_it_is_the_zero_shot_classifier_of_its_first_words(student: Backbone) -> None:
    options = CoOpOptions(context="a picture of a")
    learner = CoOp(student, NAMES, options, dual=False)
    expected = text_classifier(student, ["new thing", *NAMES], [options.start_template()])
    torch.testing.assert_close(learner.classifier(["new thing", *NAMES]), expected, rtol=1e-5, atol=1e-5)
    batch = views(student)
    assert batch.features_BD is not None
    logits = student.logit_scale * batch.features_BD @ expected[1:].T
    torch.testing.assert_close(learner(batch).logits_BC, logits, rtol=1e-4, atol=1e-4)


def test_the_dual_form_has_a_negative_prompt_of_its_own(student: Backbone) -> None:
    learner = CoOp(student, NAMES, CoOpOptions(), dual=True)
    prediction = learner(views(student))
    negative = text_classifier(student, NAMES, ["a photo of no {}."])
    assert prediction.negative_text_features_CD is not None and prediction.negative_logits_BC is not None
    torch.testing.assert_close(prediction.negative_text_features_CD, negative, rtol=1e-5, atol=1e-5)
    prediction.negative_logits_BC.sum().backward()
    assert learner.positive.grad is None
    assert learner.negative is not None and learner.negative.grad is not None
    assert set(learner.prompts()) == {"positive", "negative"}


def test_prompts_are_float32_whatever_the_precision(shared: Path) -> None:
    half = load_backbone(
        ModelConfig(
            model="fdbpl-tiny-student", pretrained=str(shared / "models" / "student.safetensors"), precision="bf16"
        )
    )
    assert CoOp(half, NAMES, CoOpOptions(), dual=False).positive.dtype == torch.float32


def test_saved_prompts_come_back_with_their_facts(student: Backbone, tmp_path: Path) -> None:
    learner = CoOp(student, NAMES, CoOpOptions(), dual=True)
    with torch.no_grad():
        learner.positive.add_(1.0)
    save_prompts(tmp_path / "prompts.safetensors", learner, {"fingerprint": "sha256:abc"})
    prompts, facts = read_prompts(tmp_path / "prompts.safetensors")
    assert facts == {"fingerprint": "sha256:abc"}
    again = CoOp(student, NAMES, CoOpOptions(), dual=True)
    load_into(again, prompts)
    assert torch.equal(again.positive, learner.positive)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["prompts.safetensors"]


def test_prompts_of_another_form_are_refused(student: Backbone, tmp_path: Path) -> None:
    save_prompts(tmp_path / "p.safetensors", CoOp(student, NAMES, CoOpOptions(), dual=True), {})
    prompts, _ = read_prompts(tmp_path / "p.safetensors")
    with pytest.raises(ValueError, match="another learner wrote them"):
        load_into(CoOp(student, NAMES, CoOpOptions(), dual=False), prompts)
