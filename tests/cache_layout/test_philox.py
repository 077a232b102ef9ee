"""Philox4x32-10 against the known answers that the authors of Random123 publish."""

from __future__ import annotations

import numpy as np
import pytest

from fdbpl.cache_layout.philox import philox4x32, uniform

# (counter, key, words) of the lines `philox4x32 10` of Random123's kat_vectors.
KNOWN_ANSWERS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN_ANSWERS)
def test_known_answers(counter, key, words):
    got = philox4x32(np.array([counter], np.uint32), np.array([key], np.uint32))
    assert got.dtype == np.uint32
    assert tuple(got[0].tolist()) == words


def test_rows_are_independent():
    counters = np.array([answer[0] for answer in KNOWN_ANSWERS], np.uint32)
    keys = np.array([answer[1] for answer in KNOWN_ANSWERS], np.uint32)
    assert philox4x32(counters, keys).tolist() == [list(answer[2]) for answer in KNOWN_ANSWERS]
    assert keys.tolist() == [list(answer[1]) for answer in KNOWN_ANSWERS], "the keys were changed in place"


def test_uniform_covers_the_half_open_interval():
    assert uniform(np.array([0, 2**31, 2**32 - 1], np.uint32)).tolist() == [0.0, 0.5, 1 - 2**-32]
