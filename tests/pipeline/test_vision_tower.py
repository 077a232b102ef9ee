"""The image encoder with visual tokens against open_clip's own without, and against a plain computation with them."""

from dataclasses import replace
from typing import Any

import open_clip
import pytest
import torch
from small_clips import LAYERS, WIDTH, positions_first, random_pixels, small_clip, small_resnet
from torch import Tensor
from torch.nn.functional import conv2d, gelu, layer_norm, linear, normalize

from fdbpl.pipeline.clip.backbone import Backbone
from fdbpl.pipeline.clip.vision_tower import check_vision_tower, encode_prompted, vision_width

VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "quick_gelu": {"quick_gelu": True},
    "layer_scale": {"ls_init_value": 0.3},
    "no_ln_pre": {"no_ln_pre": True},
    "custom_blocks": {"qk_norm": True, "scale_attn": True},
    "mean": {"pool_type": "avg"},
    "mean_then_norm": {"pool_type": "avg", "final_ln_after_pool": True},
    "norm_after_pool": {"final_ln_after_pool": True},
}


def tokens(depth: int, count: int = 2) -> Tensor:
    return torch.randn(depth, count, WIDTH, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("variant", VARIANTS)
def test_without_tokens_it_is_open_clips_own_tower(variant: str) -> None:
    backbone = small_clip(**VARIANTS[variant])
    pixels = random_pixels(backbone)
    for depth in (1, LAYERS):
        found = encode_prompted(backbone, pixels, torch.empty(depth, 0, WIDTH))
        torch.testing.assert_close(found, backbone.encode_pixels(pixels), rtol=0, atol=1e-5)


def test_a_full_size_tower_agrees_too() -> None:
    """ViT-B-32's image encoder at random weights: 12 layers of width 768, 49 patches."""
    torch.manual_seed(0)
    visual = open_clip.transformer.VisionTransformer(224, 32, 768, 12, 12, 4.0).eval().requires_grad_(False)
    small = small_clip()
    small.module.visual = visual
    backbone = replace(small, image_size=224)
    pixels = random_pixels(backbone, count=2)
    found = encode_prompted(backbone, pixels, torch.empty(12, 0, vision_width(backbone)))
    torch.testing.assert_close(found, backbone.encode_pixels(pixels), rtol=0, atol=1e-5)


@pytest.mark.parametrize("depth", [1, 3, LAYERS])
@pytest.mark.parametrize("pool", ["tok", "avg"])
def test_with_tokens_a_plain_computation_agrees(depth: int, pool: str) -> None:
    backbone = small_clip(pool_type=pool)
    pixels = random_pixels(backbone)
    found = encode_prompted(backbone, pixels, tokens(depth))
    torch.testing.assert_close(found, plainly(backbone, pixels, tokens(depth), pool), rtol=0, atol=1e-5)


def plainly(backbone: Backbone, pixels: Tensor, prompts: Tensor, pool: str) -> Tensor:
    """The same features in float64 from the weights alone, one image at a time."""
    weights = {name: value.double() for name, value in backbone.module.visual.state_dict().items()}
    mean, std = torch.tensor([[0.5, 0.4, 0.3], [0.3, 0.2, 0.25]], dtype=torch.float64).view(2, 3, 1, 1)
    images = (pixels.double() / 255 - mean) / std

    def norm(name: str, x: Tensor) -> Tensor:
        return layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"])

    def affine(name: str, x: Tensor) -> Tensor:
        return linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    features = []
    for image in images:
        patches = conv2d(image[None], weights["conv1.weight"], stride=8)[0].reshape(WIDTH, 4).T
        plain = torch.stack([weights["class_embedding"], *patches]) + weights["positional_embedding"]
        x = norm("ln_pre", torch.cat([plain, prompts[0].double()]))
        for layer in range(LAYERS):
            if 0 < layer < len(prompts):
                x = torch.cat([x[:5], prompts[layer].double()])
            block = f"transformer.resblocks.{layer}"
            wide = linear(norm(f"{block}.ln_1", x), *(weights[f"{block}.attn.in_proj_{k}"] for k in ("weight", "bias")))
            heads = []
            for head in range(2):
                q, k, v = (wide[:, WIDTH * part + 12 * head :][:, :12] for part in range(3))
                heads.append((q @ k.T / 12**0.5).softmax(dim=-1) @ v)
            x = x + affine(f"{block}.attn.out_proj", torch.cat(heads, dim=1))
            inner = gelu(affine(f"{block}.mlp.c_fc", norm(f"{block}.ln_2", x)))
            x = x + affine(f"{block}.mlp.c_proj", inner)
        x = norm("ln_post", x)
        features.append((x[0] if pool == "tok" else x[1:5].mean(dim=0)) @ weights["proj"])
    return normalize(torch.stack(features), dim=-1).float()


def test_gradients_reach_every_token_and_each_layers_own_decide() -> None:
    backbone = small_clip()
    pixels = random_pixels(backbone)
    prompts = tokens(LAYERS).requires_grad_()
    before = encode_prompted(backbone, pixels, prompts)
    before[:, 0].sum().backward()
    assert prompts.grad is not None and bool((prompts.grad.abs().sum(dim=-1) > 0).all())
    assert all(value.grad is None for value in backbone.module.parameters())
    for layer in range(LAYERS):
        changed = prompts.detach().clone()
        changed[layer, 0, 0] += 3.0  # in one place: normalisations take away what all share
        assert (encode_prompted(backbone, pixels, changed) - before).abs().max() > 1e-4


def test_the_other_layout_of_transformers_gives_the_same() -> None:
    pixels = random_pixels(small_clip())
    expected = encode_prompted(small_clip(), pixels, tokens(3))
    other = positions_first(small_clip())
    torch.testing.assert_close(encode_prompted(other, pixels, tokens(3)), expected, rtol=0, atol=1e-6)


def test_half_precision_stays_near() -> None:
    whole = small_clip()
    pixels = random_pixels(whole)
    found = encode_prompted(replace(whole, precision="bf16"), pixels, tokens(LAYERS))
    assert found.dtype == torch.float32
    exact = encode_prompted(whole, pixels, tokens(LAYERS))
    assert not torch.equal(found, exact)
    assert (found * exact).sum(dim=-1).min() > 0.99


def test_image_encoders_without_a_place_for_tokens_are_refused() -> None:
    check_vision_tower(small_clip(), LAYERS, option="depth")
    check_vision_tower(small_clip(pool_type="avg"), 1, option="depth")
    with pytest.raises(
        ValueError, match="found the image encoder ModifiedResNet in small, expected open_clip's Vision"
    ):
        check_vision_tower(small_resnet(), 1, option="depth")
    with pytest.raises(ValueError, match="pools by attention"):
        check_vision_tower(small_clip(attentional_pool=True, attn_pooler_heads=4), 1, option="depth")
    with pytest.raises(ValueError, match="with pooling 'none'"):
        check_vision_tower(small_clip(pool_type="none"), 1, option="depth")


@pytest.mark.parametrize("depth", [0, 5])
def test_a_depth_beyond_the_layers_is_refused_with_their_number(depth: int) -> None:
    with pytest.raises(ValueError, match=f"found vision_depth = {depth}, expected 1 to 4, the number of layers"):
        check_vision_tower(small_clip(), depth, option="vision_depth")
