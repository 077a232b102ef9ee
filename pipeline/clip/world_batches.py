"""Batches of captioned views, and the contrastive loss over them.

Invariant: the batch of a step is a function of (images, recipe, seed, step) alone. Each caption of a batch is one
column, however many of its images are in it; a batch uses only generic or only style captions, since 'a picture
of a red circle' would else be the wrong answer for a photo of one. Costs 35 ms for 128 views.

Axes: B views, C distinct captions, N images.
"""

from dataclasses import dataclass

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from fdbpl.pipeline.clip.captions import GENERIC_TEMPLATE, STYLE_TEMPLATES
from fdbpl.pipeline.clip.world_images import Box, CaptionedImages, central_square, normalized, random_box, view
from fdbpl.pipeline.clip.world_recipes import ClipRecipe
from fdbpl.pipeline.datasets.synthetic import COLORS, SHAPES, STYLES


@dataclass(frozen=True, kw_only=True)
class CaptionedViews:
    """Normalised pixels float32 [B, 3, H, W], C distinct captions, and each view's caption int64 [B]."""

    pixels_BCHW: Tensor
    captions: tuple[str, ...]
    caption_of_B: Tensor


def told_facts(images: CaptionedImages, *, seed: int, wrong_word_fraction: float) -> NDArray[np.int64]:
    """Return the facts [N, 3] as the captions tell them: a colour or shape word may be another one."""
    generator = np.random.Generator(np.random.Philox(key=[seed, 0]))
    told_N3 = images.facts_N3.copy()
    for column, words in ((0, COLORS), (1, SHAPES)):
        wrong_N = generator.random(len(images)) < wrong_word_fraction
        shift_N = generator.integers(1, len(words), size=len(images))
        told_N3[:, column] = (told_N3[:, column] + wrong_N * shift_N) % len(words)
    return told_N3


def make_batch(
    images: CaptionedImages, told_N3: NDArray[np.int64], *, recipe: ClipRecipe, seed: int, step: int, size: int
) -> CaptionedViews:
    """Draw the batch of a step, with replacement, at `size` pixels."""
    generator = np.random.Generator(np.random.Philox(key=[seed, 1 + step]))
    index_B = generator.integers(len(images), size=recipe.batch_size)
    generic, stop = generator.random() < recipe.generic_fraction, generator.random() < 0.5
    pixels_BHWC = np.stack([_view(images.files[i], generator, recipe, size) for i in index_B])
    captions_B = [_caption(told_3, generic=generic, stop=stop) for told_3 in told_N3[index_B]]
    captions = tuple(dict.fromkeys(captions_B))
    place = {caption: c for c, caption in enumerate(captions)}
    return CaptionedViews(
        pixels_BCHW=normalized(pixels_BHWC, mean=open_clip.OPENAI_DATASET_MEAN, std=open_clip.OPENAI_DATASET_STD),
        captions=captions,
        caption_of_B=torch.tensor([place[caption] for caption in captions_B]),
    )


def contrastive_loss(logits_BC: Tensor, caption_of_B: Tensor) -> Tensor:
    """Mean of two cross-entropies: of each view's caption, and of each caption's views with equal shares."""
    to_caption = functional.cross_entropy(logits_BC, caption_of_B)
    target_CB = functional.one_hot(caption_of_B, logits_BC.shape[1]).T.to(logits_BC.dtype)
    target_CB = target_CB / target_CB.sum(dim=1, keepdim=True)
    return (to_caption + functional.cross_entropy(logits_BC.T, target_CB)) / 2


def _view(file: bytes, generator: np.random.Generator, recipe: ClipRecipe, size: int) -> NDArray[np.uint8]:
    whole, flip = generator.random() < recipe.whole_fraction, generator.random() < 0.5

    def choose_box(width: int, height: int) -> Box:
        if whole:
            return central_square(width, height)
        return random_box(generator, width, height, recipe.crop_scale)

    return view(file, size=size, choose_box=choose_box, flip=flip)


def _caption(told_3: NDArray[np.int64], *, generic: bool, stop: bool) -> str:
    color, shape, style = told_3
    template = GENERIC_TEMPLATE if generic else STYLE_TEMPLATES[STYLES[style]]
    return template.format(f"{COLORS[color]} {SHAPES[shape]}") + ("." if stop else "")
