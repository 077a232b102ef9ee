import torch
from learner_cases import NAMES, build, views
from small_clips import WIDTH, small_clip
from torch import nn

from fdbpl.pipeline.clip.backbone import Backbone
from fdbpl.pipeline.clip.vision_tower import encode_prompted
from fdbpl.pipeline.clip.zero_shot import text_classifier
from fdbpl.pipeline.learners.catalog import learner_options
from fdbpl.pipeline.learners.vpt import Vpt


def vpt(backbone: Backbone, **options: int) -> Vpt:
    learner = build("vpt", backbone, **options)
    assert isinstance(learner, Vpt)
    return learner


def test_without_tokens_it_is_the_zero_shot_classifier_of_the_data_sets_prompt() -> None:
    backbone = small_clip()
    learner = vpt(backbone)
    learner.visual = nn.Parameter(torch.empty(3, 0, WIDTH))
    batch = views(backbone)
    assert batch.pixels_BCHW is not None
    text_CD = text_classifier(backbone, NAMES, ["a picture of a {}."])
    expected = 14.0 * backbone.encode_pixels(batch.pixels_BCHW) @ text_CD.T
    torch.testing.assert_close(learner(batch).logits_BC, expected, rtol=0, atol=1e-4)


def test_its_tokens_are_in_the_image_encoder() -> None:
    backbone = small_clip()
    batch = views(backbone)
    assert batch.pixels_BCHW is not None
    for depth in (1, 4):
        learner = vpt(backbone, depth=depth)
        assert learner.visual.shape == (depth, 8, WIDTH)
        assert 0.015 < float(learner.visual.detach().std()) < 0.025
        image_BD = encode_prompted(backbone, batch.pixels_BCHW, learner.visual)
        expected = 14.0 * image_BD @ learner.classifier(NAMES)["classifier"].T
        torch.testing.assert_close(learner(batch).logits_BC, expected, rtol=0, atol=1e-5)


def test_text_is_encoded_once() -> None:
    backbone = small_clip()
    learner = vpt(backbone)
    passes: list[int] = []
    hook = backbone.module.transformer.register_forward_pre_hook(lambda _tower, inputs: passes.append(len(inputs[0])))
    for chosen_K in (None, torch.tensor([1]), None):
        learner(views(backbone), chosen_K)
    hook.remove()
    assert passes == [5]


def test_published_defaults() -> None:
    assert vars(learner_options("vpt", {})) == {"num_tokens": 8, "depth": 12}
