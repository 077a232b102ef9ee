"""Attention with a shared beginning gives what torch's own gives for each sequence by itself, and its gradient."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from fdbpl.pipeline.clip.prefix_attention import prefix_attention

STACKED, HEADS, HEAD_WIDTH, BLOCKS, KEYS = 2, 3, 4, 5, 6
WIDTH = HEADS * HEAD_WIDTH


def random(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()


def random_bias(blocks: int, queries: int) -> Tensor:
    """Each query sees some of its keys, the first among them."""
    is_seen = torch.rand(blocks, queries, KEYS, generator=torch.Generator().manual_seed(5)) < 0.6
    is_seen[..., 0] = True
    return torch.zeros(is_seen.shape).masked_fill(~is_seen, -torch.inf)


def heads(values: Tensor) -> Tensor:
    return values.unflatten(-1, (HEADS, HEAD_WIDTH)).transpose(1, 2)


def block_by_block(parts: Tensor, bias: Tensor, beginning: Tensor | None, queries: Tensor | None) -> Tensor:
    """The definition: keys of the beginning and of the block, one after another, for every block."""
    *asked, keys, values = parts.split(WIDTH, dim=-1)
    query = asked[0] if queries is None else queries
    count = query.shape[1] // BLOCKS
    found = []
    for block in range(BLOCKS):
        own = slice(block * KEYS, (block + 1) * KEYS)
        seen = keys[:, own], values[:, own]
        mask = bias[block if len(bias) > 1 else 0].to(query.dtype)
        if beginning is not None:
            seen = tuple(torch.cat(pair, dim=1) for pair in zip(beginning.split(WIDTH, dim=-1), seen, strict=True))
            mask = torch.cat([mask.new_zeros(count, beginning.shape[1]), mask], dim=1)
        asks = query[:, block * count : (block + 1) * count]
        attended = scaled_dot_product_attention(heads(asks), heads(seen[0]), heads(seen[1]), attn_mask=mask)
        found.append(attended.transpose(1, 2).flatten(2))
    return torch.cat(found, dim=1)


@pytest.mark.parametrize("alike", [True, False])
@pytest.mark.parametrize("shared", [0, 1, 4])
@pytest.mark.parametrize("asked", [None, 1, 2])
def test_it_is_the_attention_of_each_block(alike: bool, shared: int, asked: int | None) -> None:
    parts = random(STACKED, BLOCKS * KEYS, WIDTH * (3 if asked is None else 2), seed=1)
    beginning = random(STACKED, shared, 2 * WIDTH, seed=2) if shared else None
    queries = None if asked is None else random(STACKED, BLOCKS * asked, WIDTH, seed=3)
    bias = random_bias(1 if alike else BLOCKS, KEYS if asked is None else asked)
    given = [value for value in (parts, beginning, queries) if value is not None]
    found = prefix_attention(parts, bias, HEADS, beginning=beginning, queries=queries)
    expected = block_by_block(parts, bias, beginning, queries)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-13)
    weights = random(*found.shape, seed=4).detach()
    ours, theirs = (torch.autograd.grad((value * weights).sum(), given) for value in (found, expected))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def test_half_precision_rounds_values_and_no_probability() -> None:
    parts, beginning = random(STACKED, BLOCKS * KEYS, 3 * WIDTH, seed=1), random(STACKED, 4, 2 * WIDTH, seed=2)
    bias = random_bias(1, KEYS)
    exact = prefix_attention(parts, bias, HEADS, beginning=beginning)
    halves = [value.detach().to(torch.bfloat16).requires_grad_() for value in (parts, beginning)]
    # As torch.autocast has it: what is half already stays so, nothing else is made so.
    with torch.autocast("cpu", torch.bfloat16):
        found = prefix_attention(halves[0], bias, HEADS, beginning=halves[1])
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.double(), exact, rtol=0.02, atol=0.02)
    ours = torch.autograd.grad(found.double().sum(), halves)
    theirs = torch.autograd.grad(exact.sum(), (parts, beginning))
    for half, whole in zip(ours, theirs, strict=True):
        assert half.dtype == torch.bfloat16
        torch.testing.assert_close(half.double(), whole, rtol=0.05, atol=0.05)
