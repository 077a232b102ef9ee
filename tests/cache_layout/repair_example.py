"""Ways to harm a file, and a check of the stores of `store_example`."""

from __future__ import annotations

from store_example import overwrite

from fdbpl.cache_layout.findings import Verification
from fdbpl.cache_layout.verify import verify


def check(path) -> Verification:
    return verify(path, unit_norm=False)


def flip(path, position=3):
    data = bytearray(path.read_bytes())
    data[position] ^= 16
    overwrite(path, data)


def unlink(path):
    path.unlink()


def truncate(path):
    overwrite(path, path.read_bytes()[:-1])
