"""Philox4x32-10: a counter-based random generator over whole arrays.

The four words are a function of (counter, key) alone, so any view's numbers can be drawn by themselves, in
any order, on any machine. Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2,
3", SC11. Cost: 10 rounds of a dozen integer operations, about 0.5 us a counter.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_KEY_STEPS = (np.uint32(0x9E3779B9), np.uint32(0xBB67AE85))
_ROUNDS = 10


def philox4x32(counters_B4: npt.NDArray[np.uint32], keys_B2: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """Four random 32-bit words for each (counter, key): uint32 [B, 4]."""
    c0, c1, c2, c3 = (counters_B4[:, word] for word in range(4))
    k0, k1 = keys_B2[:, 0].copy(), keys_B2[:, 1].copy()
    for _ in range(_ROUNDS):
        high0, low0 = _halves(c0.astype(np.uint64) * _MULTIPLIERS[0])
        high1, low1 = _halves(c2.astype(np.uint64) * _MULTIPLIERS[1])
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0 += _KEY_STEPS[0]
        k1 += _KEY_STEPS[1]
    return np.stack([c0, c1, c2, c3], axis=1)


def uniform(words: npt.NDArray[np.uint32]) -> npt.NDArray[np.float64]:
    """The words as multiples of 2**-32 in [0, 1)."""
    return words.astype(np.float64) * 2.0**-32


def _halves(products: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
    return (products >> np.uint64(32)).astype(np.uint32), products.astype(np.uint32)
