from pathlib import Path
from typing import Any

import pytest
import torch

from fdbpl.pipeline.clip.backbone import Backbone, load_backbone
from fdbpl.pipeline.clip.zero_shot import text_classifier
from fdbpl.pipeline.config import ModelConfig
from fdbpl.pipeline.learners.base import LearnerContext
from fdbpl.pipeline.learners.coop import CoOp, CoOpOptions
from fdbpl.pipeline.training.checkpoint import load_into, read_prompts, save_prompts
from fdbpl.pipeline.values import Views

NAMES = ("red circle", "green square", "blue star")


@pytest.fixture(scope="module")
def student(shared: Path) -> Backbone:
    return load_backbone(
        ModelConfig(model="fdbpl-tiny-student", pretrained=str(shared / "models" / "student.safetensors"))
    )


def coop(student: Backbone, *, dual: bool = False, seed: int = 0, **options: Any) -> CoOp:
    return CoOpOptions(**options).build(LearnerContext(backbone=student, class_names=NAMES, dual=dual, seed=seed))


def views(student: Backbone, count: int = 5) -> Views:
    features = torch.nn.functional.normalize(
        torch.randn(count, student.embedding_width, generator=torch.Generator().manual_seed(1)), dim=-1
    )
    ids = torch.arange(count)
    return Views(image_ids_B=ids, seeds_B=ids, labels_B=ids, features_BD=features)


@pytest.mark.parametrize(
    ("options", "template"),
    [
        ({"context": "a picture of a"}, "a picture of a {}."),
        ({"context": "a picture of a", "class_position": "middle"}, "a picture {} of a."),
        ({"context": "a photo of", "class_position": "middle"}, "a {} photo of."),
        ({"context": "a picture of a", "class_position": "front"}, "{} a picture of a."),
        ({"context": "a picture of a", "class_specific": True}, "a picture of a {}."),
    ],
)
def test_untrained_it_is_the_zero_shot_classifier_of_its_words(
    student: Backbone, options: dict[str, Any], template: str
) -> None:
    learner = coop(student, **options)
    expected = text_classifier(student, NAMES, [template])
    torch.testing.assert_close(learner.classifier(NAMES)["classifier"], expected, rtol=1e-5, atol=1e-5)
    batch = views(student)
    assert batch.features_BD is not None
    logits = student.logit_scale * batch.features_BD @ expected.T
    torch.testing.assert_close(learner(batch).logits_BC, logits, rtol=1e-4, atol=1e-4)
    chosen = torch.tensor([2, 0])
    torch.testing.assert_close(learner(batch, chosen).logits_BC, logits[:, [2, 0]], rtol=1e-4, atol=1e-4)


def test_it_tells_classes_that_it_was_not_trained_on(student: Backbone) -> None:
    found = coop(student).classifier(["new thing", "red circle"])["classifier"]
    expected = text_classifier(student, ["new thing", "red circle"], [CoOpOptions().start_template("") or ""])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="1 classes that were not trained on"):
        coop(student, class_specific=True).classifier(["new thing", "red circle"])


def test_without_words_it_starts_from_random_contexts_of_its_seed(student: Backbone) -> None:
    random = coop(student, context="", num_context=6)
    assert random.positive.shape == (6, student.module.token_embedding.weight.shape[1])
    assert 0.015 < random.positive.std().item() < 0.025
    assert torch.equal(random.positive, coop(student, context="", num_context=6).positive)
    assert not torch.equal(random.positive, coop(student, context="", num_context=6, seed=1).positive)
    own = coop(student, context="", num_context=6, class_specific=True, dual=True)
    assert own.positive.shape[0] == 3 and own.negative is not None
    assert not torch.equal(own.positive[0], own.positive[1]) and not torch.equal(own.positive, own.negative)


def test_the_dual_form_has_a_negative_prompt_of_its_own(student: Backbone) -> None:
    learner = coop(student, dual=True)
    prediction = learner(views(student))
    negative = text_classifier(student, NAMES, ["a photo of no {}."])
    assert prediction.negative_text_features_CD is not None and prediction.negative_logits_BC is not None
    torch.testing.assert_close(prediction.negative_text_features_CD, negative, rtol=1e-5, atol=1e-5)
    prediction.negative_logits_BC.sum().backward()
    assert learner.positive.grad is not None and not learner.positive.grad.any()
    assert learner.negative is not None and learner.negative.grad is not None and learner.negative.grad.any()
    assert set(learner.prompts()) == {"positive", "negative"}
    assert set(learner.classifier(NAMES)) == {"classifier", "negative"}


@pytest.mark.parametrize(
    ("coupling", "template", "learned"),
    [("offset", "a photo of no {}.", "offset"), ("token", "a photo of a no {}.", "token")],
)
def test_coupled_negative_prompts_hang_on_the_positive_one(
    coupling: str, template: str, learned: str, student: Backbone
) -> None:
    learner = coop(student, dual=True, coupling=coupling)
    assert set(learner.prompts()) == {"positive", learned}
    negative = text_classifier(student, NAMES, [template])
    torch.testing.assert_close(learner.classifier(NAMES)["negative"], negative, rtol=1e-5, atol=1e-5)
    learner(views(student)).negative().sum().backward()
    assert learner.positive.grad is not None and learner.positive.grad.abs().sum() > 0
    own = learner.prompts()[learned].grad
    assert own is not None and own.abs().sum() > 0


def test_an_offset_needs_as_many_tokens(student: Backbone) -> None:
    with pytest.raises(ValueError, match="found negative_context with 5 tokens and context with 4"):
        coop(student, dual=True, coupling="offset", negative_context="a photo of no thing")


def test_prompts_are_float32_whatever_the_precision(shared: Path) -> None:
    half = load_backbone(
        ModelConfig(
            model="fdbpl-tiny-student", pretrained=str(shared / "models" / "student.safetensors"), precision="bf16"
        )
    )
    assert coop(half).positive.dtype == torch.float32


def test_saved_prompts_come_back_with_their_facts(student: Backbone, tmp_path: Path) -> None:
    learner = coop(student, dual=True)
    with torch.no_grad():
        learner.positive.add_(1.0)
    save_prompts(tmp_path / "prompts.safetensors", learner, {"fingerprint": "sha256:abc"})
    prompts, facts = read_prompts(tmp_path / "prompts.safetensors")
    assert facts == {"fingerprint": "sha256:abc"}
    again = coop(student, dual=True)
    load_into(again, prompts)
    assert torch.equal(again.positive, learner.positive)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["prompts.safetensors"]


def test_prompts_of_another_form_are_refused(student: Backbone, tmp_path: Path) -> None:
    save_prompts(tmp_path / "p.safetensors", coop(student, dual=True), {})
    prompts, _ = read_prompts(tmp_path / "p.safetensors")
    with pytest.raises(ValueError, match="another learner wrote them"):
        load_into(coop(student), prompts)


def test_the_negative_prompt_may_be_subtracted(student: Backbone) -> None:
    learner = coop(student, dual=True, subtract=0.5)
    positive, negative = (text_classifier(student, NAMES, [f"a photo of {word} {{}}."]) for word in ("a", "no"))
    torch.testing.assert_close(learner.classifier(NAMES)["classifier"], positive - 0.5 * negative, rtol=1e-5, atol=1e-5)
    batch = views(student)
    assert batch.features_BD is not None
    logits = student.logit_scale * batch.features_BD @ (positive - 0.5 * negative).T
    found = learner(batch)
    torch.testing.assert_close(found.logits_BC, logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.negative(), student.logit_scale * batch.features_BD @ negative.T)
