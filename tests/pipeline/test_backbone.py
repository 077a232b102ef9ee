import sys
from pathlib import Path

import pytest
import torch

from fdbpl.pipeline.clip.backbone import check_names, load_backbone, weights_digest
from fdbpl.pipeline.clip.zero_shot import text_classifier
from fdbpl.pipeline.config import ModelConfig, Precision


def test_a_checkpoint_of_another_model_is_refused(shared: Path) -> None:
    with pytest.raises(ValueError, match="do not load into fdbpl-tiny-student"):
        load_backbone(
            ModelConfig(model="fdbpl-tiny-student", pretrained=str(shared / "models" / "teacher.safetensors"))
        )


@pytest.mark.parametrize(
    ("model", "pretrained", "message"),
    [
        ("ViT-B-23", "openai", "ViT-B-32"),
        ("ViT-B-32", "opnai", "one of the tags openai"),
        ("fdbpl-tiny-student", "none.safetensors", "no downloadable weights"),
    ],
)
def test_unknown_names_are_refused_with_the_known(model: str, pretrained: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_names(model, pretrained)


def test_a_tokenizer_of_a_package_that_is_not_here_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ValueError, match="pip install transformers"):
        check_names("ViT-B-16-SigLIP", "webli")


def test_the_teacher_of_the_field_is_known() -> None:
    check_names("ViT-H-14-quickgelu", "dfn5b")


def test_features_are_unit_and_the_digest_follows_the_values(shared: Path) -> None:
    student = load_backbone(
        ModelConfig(model="fdbpl-tiny-student", pretrained=str(shared / "models" / "student.safetensors"))
    )
    pixels = torch.randint(0, 256, (3, 3, 48, 48), dtype=torch.uint8)
    torch.testing.assert_close(student.encode_pixels(pixels).norm(dim=-1), torch.ones(3))
    linear = torch.nn.Linear(2, 2)
    before = weights_digest(linear)
    assert weights_digest(linear) == before
    with torch.no_grad():
        linear.bias[0] += 1e-3
    assert weights_digest(linear) != before


def test_pixels_are_normalised_as_open_clip_does(shared: Path) -> None:
    student = load_backbone(
        ModelConfig(model="fdbpl-tiny-student", pretrained=str(shared / "models" / "student.safetensors"))
    )
    pixels = torch.randint(0, 256, (2, 3, 48, 48), dtype=torch.uint8)
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(1, 3, 1, 1)
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(1, 3, 1, 1)
    with torch.no_grad():
        expected = student.module.encode_image((pixels / 255 - mean) / std, normalize=True)
    torch.testing.assert_close(student.encode_pixels(pixels), expected, rtol=1e-4, atol=1e-5)


def test_a_classifier_is_the_unit_mean_over_templates(shared: Path) -> None:
    student = load_backbone(
        ModelConfig(model="fdbpl-tiny-student", pretrained=str(shared / "models" / "student.safetensors"))
    )
    one, two = (text_classifier(student, ["red circle"], [t]) for t in ("a photo of a {}.", "a picture of a {}."))
    both = text_classifier(student, ["red_circle"], ["a photo of a {}.", "a picture of a {}."])
    torch.testing.assert_close(both, torch.nn.functional.normalize(one + two, dim=-1))
    with pytest.raises(ValueError, match="exactly one"):
        text_classifier(student, ["red circle"], ["a photo."])
    with pytest.raises(ValueError, match="at least one"):
        text_classifier(student, ["red circle"], [])


def test_long_lists_of_texts_are_encoded_in_parts(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    student = load_backbone(
        ModelConfig(model="fdbpl-tiny-student", pretrained=str(shared / "models" / "student.safetensors"))
    )
    texts = [f"a photo of {word}." for word in ("a dog", "a red circle", "no", "two", "it")]
    expected = student.encode_texts(texts)
    sizes: list[int] = []
    hook = student.module.transformer.register_forward_pre_hook(lambda _tower, inputs: sizes.append(len(inputs[0])))
    monkeypatch.setattr("fdbpl.pipeline.clip.backbone._TEXTS_AT_ONCE", 2)
    torch.testing.assert_close(student.encode_texts(texts), expected, rtol=0, atol=1e-6)
    hook.remove()
    assert sizes == [2, 2, 1]
    assert student.encode_texts([]).shape == (0, 64)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_stays_near_and_unit(precision: Precision, shared: Path) -> None:
    path = str(shared / "models" / "student.safetensors")
    whole = load_backbone(ModelConfig(model="fdbpl-tiny-student", pretrained=path))
    half = load_backbone(ModelConfig(model="fdbpl-tiny-student", pretrained=path, precision=precision))
    pixels = torch.randint(0, 256, (4, 3, 48, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    found = half.encode_pixels(pixels)
    assert found.dtype == torch.float32
    exact = whole.encode_pixels(pixels)
    assert not torch.equal(found, exact)
    assert (found * exact).sum(dim=-1).min() > 0.99


@pytest.mark.parametrize("content", [b"", b"no checkpoint at all", b"\x08\0\0\0\0\0\0\0{}      "])
def test_a_file_that_is_no_checkpoint_is_told(content: bytes, tmp_path: Path) -> None:
    for name in ("bad.safetensors", "bad.pt"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match="do not load into fdbpl-tiny-student"):
            load_backbone(ModelConfig(model="fdbpl-tiny-student", pretrained=str(tmp_path / name)))


def test_weights_that_are_not_here_are_told_with_how_to_bring_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a network, as on the nodes of many clusters; never a model at random weights."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ValueError) as caught:
        load_backbone(ModelConfig(model="ViT-B-32-quickgelu", pretrained="openai"))
    assert "the weights 'openai' of ViT-B-32-quickgelu are not on this machine" in str(caught.value)
    assert "`fdbpl init --preset tiny --data FOLDER`" in str(caught.value)
    assert "HF_HUB_OFFLINE is set, so they are looked for in the cache alone" in str(caught.value)
    assert "open_clip.create_model('ViT-B-32-quickgelu', pretrained='openai')" in str(caught.value)
