"""Checks of the stores of `store_example`, and files and records forged so that they fit each other."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
from store_example import overwrite

from fdbpl.cache_layout.campaigns import save_campaign
from fdbpl.cache_layout.files import record_of
from fdbpl.cache_layout.findings import Finding
from fdbpl.cache_layout.records import ShardRecord
from fdbpl.cache_layout.seal import _closed
from fdbpl.cache_layout.shard import crc32c
from fdbpl.cache_layout.store import open_store
from fdbpl.cache_layout.verify import verify


def found(path, **options):
    """(kind, file) of each finding of a check of the stores of `store_example`, whose embeddings are no unit rows."""
    verification = verify(path, **{"unit_norm": False, **options})
    return [(finding.kind, finding.file) for finding in verification.findings]


def one(path, **options) -> Finding:
    findings = verify(path, **{"unit_norm": False, **options}).findings
    assert len(findings) == 1, findings
    return findings[0]


def forge_file(path: Path, array: str, change, crcs_of=lambda old, data: old) -> None:
    """Let a foreign writer change the bytes of an array's first file: records and seals are made to fit."""
    store = open_store(path)
    name = next(name for name, specs in store.campaigns.items() if any(spec.name == array for spec in specs))
    campaign = store.campaign(name)
    table = store.records(campaign)
    block = campaign.grid.block(0, 0)
    file = path / store.arrays[array].file_name(block)
    data = bytearray(file.read_bytes())
    change(data)
    overwrite(file, data)
    old = table.get(block)
    found_now = record_of(file)
    crcs = crcs_of(old[array].plane_crc32c, data)
    table.put(block, {**old, array: ShardRecord(size=found_now.size, sha256=found_now.sha256, plane_crc32c=crcs)})
    shutil.rmtree(path / f"records/{name}/{campaign.seals[0].table}")
    save_campaign(path, _closed(store, replace(campaign, seals=()), table))


def forge(path: Path, array: str, change) -> None:
    """Let a foreign writer change the values of an array's first plane."""
    store = open_store(path)
    spec = store.arrays[array]
    plane_bytes = store.grid.images_per_block * spec.row_bytes

    def change_plane(data):
        values = np.frombuffer(data, spec.numpy_dtype, plane_bytes // spec.numpy_dtype.itemsize).copy()
        change(values)
        data[:plane_bytes] = values.tobytes()
        data[plane_bytes : plane_bytes + 4] = crc32c(bytes(data[:plane_bytes]))

    def crcs_of(old, data):
        return (int.from_bytes(crc32c(bytes(data[:plane_bytes])), "little"), *old[1:])

    forge_file(path, array, change_plane, crcs_of)


def swap(left, right):
    first, second = left.read_bytes(), right.read_bytes()
    overwrite(left, second)
    overwrite(right, first)
