"""The two kernels of `window_resize`: along rows into an 8-bit intermediate, then along columns into the crops.

A window is a line of five int64: the address of its first value, the bytes of a row of its image, its height, where its
intermediate starts, and whether it is mirrored. An intermediate is [height, 3, S].
"""

from typing import Any

import triton
import triton.language as tl
from torch import Tensor

from fdbpl.kernels.cubic_weights import PRECISION_BITS, CubicWeights

_CONSTANTS: dict[str, Any] = {"FIELDS": 5, "BITS": PRECISION_BITS, "ROWS": 16, "COLUMNS": 64}


def launch(
    table_B5: Tensor,
    rows: CubicWeights,
    columns: CubicWeights,
    intermediate: Tensor,
    crops_BCHW: Tensor,
    *,
    most_rows: int,
) -> None:
    """Queue both kernels on the current stream; the images of the table must live until they have run."""
    num_windows, _, size, _ = crops_BCHW.shape
    across = triton.cdiv(size, _CONSTANTS["COLUMNS"])
    _along_rows[(num_windows, triton.cdiv(most_rows, _CONSTANTS["ROWS"]), across)](
        table_B5,
        rows.first_BS,
        rows.weights_BTS,
        rows.taps_B,
        rows.weights_BTS.shape[1],
        intermediate,
        size,
        **_CONSTANTS,
    )
    _along_columns[(num_windows, triton.cdiv(size, _CONSTANTS["ROWS"]), across)](
        table_B5,
        columns.first_BS,
        columns.weights_BTS,
        columns.taps_B,
        columns.weights_BTS.shape[1],
        intermediate,
        crops_BCHW,
        size,
        **_CONSTANTS,
    )


@triton.jit
def _along_rows(
    table,
    first,
    weights,
    taps,
    num_taps,
    intermediate,
    size,
    FIELDS: tl.constexpr,
    BITS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    b = tl.program_id(0).to(tl.int64)
    height = tl.load(table + b * FIELDS + 2).to(tl.int32)
    row = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    if tl.program_id(1) * ROWS < height:
        column = tl.program_id(2) * COLUMNS + tl.arange(0, COLUMNS)
        values = tl.load(table + b * FIELDS).to(tl.pointer_type(tl.uint8))
        stride = tl.load(table + b * FIELDS + 1)
        start = tl.load(table + b * FIELDS + 3)
        is_column = column < size
        is_inside = (row[:, None] < height) & is_column[None, :]
        begin = tl.load(first + b * size + column, mask=is_column, other=0)
        place = row.to(tl.int64)[:, None] * stride + 3 * begin.to(tl.int64)[None, :]
        red = tl.full((ROWS, COLUMNS), 1 << (BITS - 1), tl.int32)
        green = red
        blue = red
        for tap in range(tl.load(taps + b)):
            weight = tl.load(weights + (b * num_taps + tap) * size + column, mask=is_column, other=0)
            # A tap of weight zero may lie beyond the image.
            is_used = is_inside & (weight != 0)[None, :]
            at = values + place + 3 * tap
            red += weight[None, :] * tl.load(at, mask=is_used, other=0).to(tl.int32)
            green += weight[None, :] * tl.load(at + 1, mask=is_used, other=0).to(tl.int32)
            blue += weight[None, :] * tl.load(at + 2, mask=is_used, other=0).to(tl.int32)
        to = intermediate + start + row.to(tl.int64)[:, None] * (3 * size) + column[None, :]
        tl.store(to, _rounded(red, BITS), mask=is_inside)
        tl.store(to + size, _rounded(green, BITS), mask=is_inside)
        tl.store(to + 2 * size, _rounded(blue, BITS), mask=is_inside)


@triton.jit
def _along_columns(
    table,
    first,
    weights,
    taps,
    num_taps,
    intermediate,
    crops,
    size,
    FIELDS: tl.constexpr,
    BITS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    b = tl.program_id(0).to(tl.int64)
    row = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(2) * COLUMNS + tl.arange(0, COLUMNS)
    is_row = row < size
    is_inside = is_row[:, None] & (column < size)[None, :]
    start = tl.load(table + b * FIELDS + 3)
    is_flipped = tl.load(table + b * FIELDS + 4) != 0
    begin = tl.load(first + b * size + row, mask=is_row, other=0)
    place = begin.to(tl.int64)[:, None] * (3 * size) + column[None, :]
    red = tl.full((ROWS, COLUMNS), 1 << (BITS - 1), tl.int32)
    green = red
    blue = red
    for tap in range(tl.load(taps + b)):
        weight = tl.load(weights + (b * num_taps + tap) * size + row, mask=is_row, other=0)
        is_used = is_inside & (weight != 0)[:, None]
        at = intermediate + start + place + tap * 3 * size
        red += weight[:, None] * tl.load(at, mask=is_used, other=0).to(tl.int32)
        green += weight[:, None] * tl.load(at + size, mask=is_used, other=0).to(tl.int32)
        blue += weight[:, None] * tl.load(at + 2 * size, mask=is_used, other=0).to(tl.int32)
    to_column = tl.where(is_flipped, size - 1 - column, column)
    to = crops + b * 3 * size * size + row[:, None] * size + to_column[None, :]
    tl.store(to, _rounded(red, BITS), mask=is_inside)
    tl.store(to + size * size, _rounded(green, BITS), mask=is_inside)
    tl.store(to + 2 * size * size, _rounded(blue, BITS), mask=is_inside)


@triton.jit
def _rounded(total, BITS: tl.constexpr):
    return tl.minimum(tl.maximum(total >> BITS, 0), 255).to(tl.uint8)
