"""Operations are those of the products, whatever torch makes one operation of."""

import torch
from small_clips import small_clip

from fdbpl.pipeline.bench.operations import matrix_rate, operations


def test_a_product_is_two_operations_for_each_of_its_terms() -> None:
    a, b = torch.randn(3, 4), torch.randn(4, 5, requires_grad=True)
    assert operations(lambda: a @ b) == 2 * 3 * 4 * 5
    assert operations(lambda: (a @ b).sum().backward()) == 2 * 2 * 3 * 4 * 5, "the constant has no gradient"


def test_a_frozen_encoder_costs_what_it_costs_with_gradients() -> None:
    """Without them torch runs a whole attention layer as one operation."""
    backbone = small_clip()
    size = backbone.image_size
    pixels = torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8)
    assert torch.backends.mha.get_fastpath_enabled()
    frozen = operations(lambda: backbone.encode_pixels(pixels))
    assert torch.backends.mha.get_fastpath_enabled()
    floats = torch.randn(2, 3, size, size, requires_grad=True)
    assert frozen == operations(lambda: backbone.module.encode_image(floats))


def test_the_rate_is_of_this_machine() -> None:
    assert matrix_rate("cpu", torch.float32) > 1e8
