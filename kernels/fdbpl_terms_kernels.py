"""The two Triton kernels of `fdbpl_terms`: a program for each crop goes over its classes block by block, once each.

Forward keeps the largest logit so far, and what it has summed up relative to it; both are put right where a larger one
comes (online softmax, arXiv 1805.02867). So no large numbers are subtracted from each other in the end. It keeps of a
crop the logarithms of the three sums of exponentials, reverse divergence and rejection, and the cosine's three
coefficients (see `fdbpl_terms_torch`). Backward computes the rest again.
"""

import triton
import triton.language as tl


@triton.jit
def forward_kernel(
    student,
    teacher,
    negative,
    values,
    stats,
    num_classes,
    num_rows,
    teacher_rows,
    inverse_temperature,
    subtract,
    WEIGHTED: tl.constexpr,
    TEMPERED: tl.constexpr,
    DIRECTION: tl.constexpr,
    DUAL: tl.constexpr,
    BLOCK: tl.constexpr,
    STATS: tl.constexpr,
    SHORTEST: tl.constexpr,
    LOWEST: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    student += row * num_classes
    teacher += (row % teacher_rows) * num_classes
    negative += row * num_classes
    s_top, s_total, s_gap = LOWEST, 0.0, 0.0
    t_top, t_total, t_gap = LOWEST, 0.0, 0.0
    w_top, w_total, w_sum = LOWEST, 0.0, 0.0
    n_top, n_total, n_sum = LOWEST, 0.0, 0.0
    square, product, negative_square = 0.0, 0.0, 0.0
    for start in range(0, num_classes, BLOCK):
        column = start + tl.arange(0, BLOCK)
        is_inside = column < num_classes
        raw_s = tl.load(student + column, mask=is_inside, other=0).to(tl.float32)
        raw_t = tl.load(teacher + column, mask=is_inside, other=0).to(tl.float32)
        s = raw_s * inverse_temperature
        t = raw_t * inverse_temperature
        s_next, s_fade, s_exp = _exponentials(s, is_inside, s_top, LOWEST)
        t_next, t_fade, t_exp = _exponentials(t, is_inside, t_top, LOWEST)
        # Gaps are relative to that of both tops.
        gap = (s - s_next) - (t - t_next)
        shift = (s_top - s_next) - (t_top - t_next)
        s_gap = s_fade * (s_gap + s_total * shift) + tl.sum(s_exp * gap)
        t_gap = t_fade * (t_gap + t_total * shift) + tl.sum(t_exp * gap)
        s_total = s_fade * s_total + tl.sum(s_exp)
        if WEIGHTED:
            if TEMPERED:
                w_next, w_fade, w_exp = _exponentials(raw_t, is_inside, w_top, LOWEST)
                w_sum = w_fade * (w_sum + w_total * (w_top - w_next)) + tl.sum(w_exp * (raw_t - w_next))
                w_total = w_fade * w_total + tl.sum(w_exp)
                w_top = w_next
            else:
                w_sum = t_fade * (w_sum + t_total * (t_top - t_next)) + tl.sum(t_exp * (t - t_next))
        t_total = t_fade * t_total + tl.sum(t_exp)
        s_top = s_next
        t_top = t_next
        if DUAL:
            n = tl.load(negative + column, mask=is_inside, other=0).to(tl.float32)
            n_next, n_fade, n_exp = _exponentials(n, is_inside, n_top, LOWEST)
            n_sum = n_fade * (n_sum + n_total * (n_top - n_next)) + tl.sum(n_exp * (n - n_next))
            n_total = n_fade * n_total + tl.sum(n_exp)
            n_top = n_next
            square += tl.sum(raw_s * raw_s)
            product += tl.sum(raw_s * n)
            negative_square += tl.sum(n * n)
    stats += row * STATS
    s_log = tl.log(s_total)
    t_log = tl.log(t_total)
    reverse = s_gap / s_total - s_log + t_log
    forward = s_log - t_log - t_gap / t_total
    tl.store(stats, s_top + s_log)
    tl.store(stats + 1, t_top + t_log)
    tl.store(stats + 2, reverse)
    if DIRECTION == 0:
        tl.store(values + row, 0.5 * (reverse + forward))
    elif DIRECTION == 1:
        tl.store(values + row, forward)
    else:
        tl.store(values + row, reverse)
    if WEIGHTED:
        entropy = t_log - w_sum / t_total
        if TEMPERED:
            entropy = tl.log(w_total) - w_sum / w_total
        tl.store(values + num_rows + row, entropy, mask=row < teacher_rows)
    if DUAL:
        n_log = tl.log(n_total)
        rejection = n_sum / n_total - n_log
        tl.store(stats + 3, n_top + n_log)
        tl.store(stats + 4, rejection)
        tl.store(values + 2 * num_rows + row, rejection)
        # From the student's logits to the positive prompts'.
        square += 2.0 * subtract * product + subtract * subtract * negative_square
        product += subtract * negative_square
        square = tl.maximum(square, SHORTEST)
        negative_square = tl.maximum(negative_square, SHORTEST)
        inverse = 1.0 / (tl.sqrt(square) * tl.sqrt(negative_square))
        cosine = product * inverse
        cross = inverse - subtract * cosine / square
        tl.store(values + 3 * num_rows + row, cosine)
        tl.store(stats + 5, -cosine / square)
        tl.store(stats + 6, cross)
        tl.store(stats + 7, subtract * (inverse + cross) - cosine / negative_square)


@triton.jit
def backward_kernel(
    student,
    teacher,
    negative,
    stats,
    agreement_up,
    rejection_up,
    separation_up,
    grad,
    negative_grad,
    num_classes,
    teacher_rows,
    inverse_temperature,
    DIRECTION: tl.constexpr,
    DUAL: tl.constexpr,
    BLOCK: tl.constexpr,
    STATS: tl.constexpr,
    SHORTEST: tl.constexpr,
    LOWEST: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    place = row * num_classes
    teacher += (row % teacher_rows) * num_classes
    stats += row * STATS
    s_log = tl.load(stats)
    t_log = tl.load(stats + 1)
    reverse = tl.load(stats + 2)
    agreement_slope = tl.load(agreement_up + row) * inverse_temperature
    if DUAL:
        n_log = tl.load(stats + 3)
        rejection = tl.load(stats + 4)
        rejection_slope = tl.load(rejection_up + row)
        separation_slope = tl.load(separation_up + row)
        own = tl.load(stats + 5) * separation_slope
        cross = tl.load(stats + 6) * separation_slope
        other = tl.load(stats + 7) * separation_slope
    for start in range(0, num_classes, BLOCK):
        column = start + tl.arange(0, BLOCK)
        is_inside = column < num_classes
        raw_s = tl.load(student + place + column, mask=is_inside, other=0).to(tl.float32)
        raw_t = tl.load(teacher + column, mask=is_inside, other=0).to(tl.float32)
        log_s = raw_s * inverse_temperature - s_log
        log_t = raw_t * inverse_temperature - t_log
        s = tl.exp(log_s)
        t = tl.exp(log_t)
        if DIRECTION == 0:
            slope = 0.5 * (s * (log_s - log_t - reverse + 1.0) - t)
        elif DIRECTION == 1:
            slope = s - t
        else:
            slope = s * (log_s - log_t - reverse)
        result = agreement_slope * slope
        if DUAL:
            n = tl.load(negative + place + column, mask=is_inside, other=0).to(tl.float32)
            log_n = n - n_log
            result += own * raw_s + cross * n
            negative_result = rejection_slope * tl.exp(log_n) * (log_n - rejection) + cross * raw_s + other * n
            tl.store(negative_grad + place + column, negative_result, mask=is_inside)
        tl.store(grad + place + column, result, mask=is_inside)


@triton.jit
def _exponentials(values, is_inside, top, LOWEST: tl.constexpr):
    """The largest value so far, what sums relative to `top` become relative to it, and the values' exponentials, zero
    outside."""
    largest = tl.maximum(top, tl.max(tl.where(is_inside, values, LOWEST)))
    return largest, tl.exp(top - largest), tl.where(is_inside, tl.exp(values - largest), 0.0)
