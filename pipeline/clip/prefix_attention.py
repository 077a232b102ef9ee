"""Attention of many short sequences that begin alike: each sees the shared beginning and what it may of its own block.

Each is so small that kernels made for long sequences spend their time on starting, and to put the shared keys before
each one's own would be a copy for every class. So products with shared keys are taken for all sequences at once, those
with own keys in blocks, and the gradient is written out: autograd would copy every slice.
Letters: N stacked contexts, H heads, Z = N H, W width, d width of a head, B blocks, q queries and r keys of a block,
P shared positions, K of query, key and value (3) or of key and value alone (2).
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def prefix_attention(
    parts: Tensor, bias_Bqr: Tensor, num_heads: int, *, beginning: Tensor | None = None, queries: Tensor | None = None
) -> Tensor:
    """What each query attends to [N, B q, W]; differentiable once. Probabilities are float32 at least.

    Args:
        parts: query, key and value of all blocks' positions, beside one another [N, B r, 3 W]; key and value alone
            [N, B r, 2 W] with `queries`.
        bias_Bqr: 0 where a query of a block sees one of its keys, else -inf; B is 1 where all blocks are alike.
        beginning: key and value of the shared positions [N, P, 2 W], which every query sees.
        queries: [N, B q, W]; None where every position asks.
    """
    attended: Tensor = _PrefixAttention.apply(parts, queries, beginning, bias_Bqr, num_heads)
    return attended


class _PrefixAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, parts: Tensor, queries: Tensor | None, beginning: Tensor | None, bias_Bqr: Tensor, num_heads: int
    ) -> Tensor:
        own_KZrd = _by_head(parts, num_heads, 3 if queries is None else 2)
        query_Zqd = own_KZrd[0] if queries is None else _by_head(queries, num_heads, 1)[0]
        # Without a beginning its keys are none.
        first_KZPd = own_KZrd[-2:, :, :0] if beginning is None else _by_head(beginning, num_heads, 2)
        probs_ZBqT = _probs(query_Zqd, own_KZrd[-2], first_KZPd[-2], bias_Bqr)
        out_Zqd = _weighted(probs_ZBqT, own_KZrd[-1], first_KZPd[-1])
        ctx.save_for_backward(own_KZrd, query_Zqd, first_KZPd, probs_ZBqT, out_Zqd)
        ctx.num_heads, ctx.asks_apart, ctx.has_beginning = num_heads, queries is not None, beginning is not None
        return _by_position([out_Zqd], num_heads)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        own_KZrd, query_Zqd, first_KZPd, probs_ZBqT, out_Zqd = ctx.saved_tensors
        blocks, num_shared = probs_ZBqT.shape[1], first_KZPd.shape[2]
        grad_Zqd = _by_head(grads[0].to(query_Zqd.dtype), ctx.num_heads, 1)[0]
        key_Xrd, value_Xrd, query_Xqd, grad_Xqd = (
            _in_blocks(value, blocks) for value in (own_KZrd[-2], own_KZrd[-1], query_Zqd, grad_Zqd)
        )
        of_first_ZqP = torch.bmm(grad_Zqd, first_KZPd[-1].mT)
        of_own_Xqr = torch.bmm(grad_Xqd, value_Xrd.mT)
        # Of a softmax: p (dp - sum of p dp), and that sum is the output's product with its own gradient.
        sums_ZBq1 = (grad_Zqd * out_Zqd).sum(-1, dtype=probs_ZBqT.dtype).view(*probs_ZBqT.shape[:-1], 1)
        scores_ZBqT = _beside(of_first_ZqP, of_own_Xqr, blocks).to(probs_ZBqT.dtype)
        scores_ZBqT = scores_ZBqT.sub_(sums_ZBq1).mul_(probs_ZBqT).mul_(query_Zqd.shape[-1] ** -0.5)
        (p_first_ZqP, p_own_Xqr), (s_first_ZqP, s_own_Xqr) = (
            _apart(value.to(query_Zqd.dtype), num_shared) for value in (probs_ZBqT, scores_ZBqT)
        )
        of_query_Zqd = torch.baddbmm(torch.bmm(s_own_Xqr, key_Xrd).view_as(query_Zqd), s_first_ZqP, first_KZPd[-2])
        of_key, of_value = torch.bmm(s_own_Xqr.mT, query_Xqd), torch.bmm(p_own_Xqr.mT, grad_Xqd)
        own = [value.view_as(own_KZrd[0]) for value in (of_key, of_value)]
        of_queries = _by_position([of_query_Zqd], ctx.num_heads) if ctx.asks_apart else None
        of_beginning = None
        if ctx.has_beginning:
            first = [torch.bmm(s_first_ZqP.mT, query_Zqd), torch.bmm(p_first_ZqP.mT, grad_Zqd)]
            of_beginning = _by_position(first, ctx.num_heads)
        of_parts = _by_position(own if ctx.asks_apart else [of_query_Zqd, *own], ctx.num_heads)
        return of_parts, of_queries, of_beginning, None, None


def _probs(query_Zqd: Tensor, key_Zrd: Tensor, first_key_ZPd: Tensor, bias_Bqr: Tensor) -> Tensor:
    """What part each key has in each query's result [Z, B, q, P + r], float32 at least."""
    scale = query_Zqd.shape[-1] ** -0.5
    blocks = query_Zqd.shape[1] // bias_Bqr.shape[1]
    bias_Bqr = bias_Bqr.to(query_Zqd.dtype)
    bias = bias_Bqr if len(bias_Bqr) == 1 else bias_Bqr.repeat(len(query_Zqd), 1, 1)
    none = bias_Bqr[:1, :1, :1]
    first_ZqP = torch.baddbmm(none, query_Zqd, first_key_ZPd.mT, beta=0, alpha=scale)
    own_Xqr = torch.baddbmm(bias, _in_blocks(query_Zqd, blocks), _in_blocks(key_Zrd, blocks).mT, alpha=scale)
    return _beside(first_ZqP, own_Xqr, blocks).softmax(dim=-1, dtype=_exact(query_Zqd))


def _exact(values: Tensor) -> torch.dtype:
    return torch.promote_types(values.dtype, torch.float32)


def _weighted(probs_ZBqT: Tensor, value_Zrd: Tensor, first_value_ZPd: Tensor) -> Tensor:
    """Values by their parts [Z, B q, d]."""
    first_ZqP, own_Xqr = _apart(probs_ZBqT.to(value_Zrd.dtype), first_value_ZPd.shape[1])
    own_Xqd = torch.bmm(own_Xqr, _in_blocks(value_Zrd, probs_ZBqT.shape[1]))
    return torch.baddbmm(own_Xqd.view(*first_ZqP.shape[:2], -1), first_ZqP, first_value_ZPd)


def _beside(first_ZqP: Tensor, own_Xqr: Tensor, blocks: int) -> Tensor:
    """[Z, B, q, P + r] of what is of shared keys and of own ones."""
    own_ZBqr = own_Xqr.unflatten(0, (-1, blocks))
    return torch.cat([first_ZqP.view(*own_ZBqr.shape[:3], -1), own_ZBqr], dim=-1)


def _apart(values_ZBqT: Tensor, num_shared: int) -> tuple[Tensor, Tensor]:
    """Of shared keys [Z, B q, P], and of own ones [Z B, q, r]: views both."""
    return values_ZBqT[..., :num_shared].flatten(1, 2), values_ZBqT[..., num_shared:].flatten(0, 1)


def _in_blocks(values_Znd: Tensor, blocks: int) -> Tensor:
    """[Z, B n, d] to [Z B, n, d]."""
    return values_Znd.view(len(values_Znd) * blocks, -1, values_Znd.shape[-1])


def _by_head(values_NnX: Tensor, num_heads: int, kinds: int) -> Tensor:
    """[N, n, K W] to [K, Z, n, d], each head's one behind another in memory."""
    stacked, count = values_NnX.shape[:2]
    by_head = values_NnX.view(stacked, count, kinds, num_heads, -1).permute(2, 0, 3, 1, 4)
    return by_head.contiguous().view(kinds, stacked * num_heads, count, -1)


def _by_position(values: Sequence[Tensor], num_heads: int) -> Tensor:
    """K of [Z, n, d] to [N, n, K W]."""
    count, width = values[0].shape[1:]
    out = values[0].new_empty(len(values[0]) // num_heads, count, len(values), num_heads, width)
    for kind, value_Znd in enumerate(values):
        out[:, :, kind] = value_Znd.view(-1, num_heads, count, width).transpose(1, 2)
    return out.flatten(2)
