"""Models are built without drawing values, and hold the very weights of their file."""

import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from vit_files import vit_files

from fdbpl.pipeline.clip import backbone as backbone_module
from fdbpl.pipeline.clip.backbone import forget_backbones, load_backbone, random_checkpoint
from fdbpl.pipeline.clip.build import Undrawn, loaded_module
from fdbpl.pipeline.clip.tiny import register_tiny_models
from fdbpl.pipeline.config import ModelConfig


@pytest.fixture(autouse=True)
def known() -> None:
    register_tiny_models()


def table_of(kind: str, shared: Path, folder: Path) -> dict[str, str]:
    if kind == "resnet":
        return {"model": "fdbpl-tiny-teacher", "pretrained": str(shared / "models" / "teacher.safetensors")}
    if kind == "transformer":
        return vit_files(folder, "build-vit")
    tower = {"timm_model_name": "resnet10t", "timm_pool": "", "timm_proj": "linear", "image_size": 48}
    text = {"context_length": 24, "vocab_size": 49408, "heads": 2, "width": 32, "layers": 2}
    (folder / "config").mkdir()
    (folder / "config" / "build-timm.json").write_text(
        json.dumps({"embed_dim": 64, "vision_cfg": tower, "text_cfg": text})
    )
    open_clip.add_model_config(folder / "config")
    return {"model": "build-timm", "pretrained": str(random_checkpoint("build-timm", folder / "timm.safetensors"))}


@pytest.mark.parametrize("kind", ["resnet", "transformer", "timm"])
def test_weights_and_features_are_those_of_a_model_that_was_drawn_first(
    kind: str, shared: Path, tmp_path: Path
) -> None:
    table = table_of(kind, shared, tmp_path)
    expected = open_clip.create_model(table["model"], pretrained=table["pretrained"]).eval()
    found = loaded_module(**table, device="cpu").eval()
    for values in ("named_parameters", "named_buffers"):  # buffers that no file holds are made as always
        pairs = dict(getattr(expected, values)())
        assert pairs.keys() == dict(getattr(found, values)()).keys()
        assert all(torch.equal(value, pairs[name]) for name, value in getattr(found, values)())
    pixels, tokens = torch.rand(2, 3, 48, 48), open_clip.get_tokenizer(table["model"])(["a photo of a cat."])
    with torch.no_grad():
        assert torch.equal(found.encode_image(pixels), expected.encode_image(pixels))
        assert torch.equal(found.encode_text(tokens), expected.encode_text(tokens))


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Linear(8, 8),
        lambda: nn.Conv2d(3, 8, 3),
        lambda: nn.Embedding(8, 8),
        lambda: nn.MultiheadAttention(8, 2),
        lambda: nn.init.trunc_normal_(torch.empty(8)),
        lambda: nn.init.normal_(tensor=torch.empty(8)),
        lambda: torch.empty(8).normal_(std=0.02),
    ],
)
def test_nothing_is_drawn(make: Any) -> None:
    state = torch.get_rng_state()
    with Undrawn():
        make()
    assert torch.equal(torch.get_rng_state(), state)
    make()
    assert not torch.equal(torch.get_rng_state(), state)


def test_what_is_not_drawn_is_made(shared: Path) -> None:
    with Undrawn():
        norm = nn.LayerNorm(4)
    assert torch.equal(norm.weight, torch.ones(4)) and torch.equal(norm.bias, torch.zeros(4))


@pytest.mark.parametrize("missing", ["text_projection", "visual.bn1.running_mean"])
def test_a_file_without_one_of_the_values_is_refused(missing: str, shared: Path, tmp_path: Path) -> None:
    """Else that one would be what the memory held."""
    state: dict[str, Tensor] = load_file(shared / "models" / "student.safetensors")
    assert state.pop(missing) is not None
    save_file(state, tmp_path / "student.safetensors")
    with pytest.raises(ValueError, match=f"do not load into fdbpl-tiny-student.*{missing}"):
        loaded_module("fdbpl-tiny-student", str(tmp_path / "student.safetensors"), "cpu")


@pytest.mark.parametrize(("name", "draws"), [("weights.npz", True), ("weights.safetensors", False)])
def test_a_file_whose_completeness_no_one_checks_replaces_drawn_values(
    name: str, draws: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_clip, "create_model", lambda *_, **__: nn.Linear(8, 8))
    state = torch.get_rng_state()
    loaded_module("any", name, "cpu")
    assert torch.equal(torch.get_rng_state(), state) is not draws


def test_weights_are_not_read_again_for_a_digest_that_no_one_asks_for(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[nn.Module] = []

    def digest(module: nn.Module) -> str:
        asked.append(module)
        return "sha256:0"

    monkeypatch.setattr(backbone_module, "weights_digest", digest)
    forget_backbones()
    config = ModelConfig(model="fdbpl-tiny-student", pretrained=str(shared / "models" / "student.safetensors"))
    student = load_backbone(config)
    assert not asked
    assert student.identity()["weights"] == student.weights_digest == "sha256:0" and asked == [student.module]
    forget_backbones()
