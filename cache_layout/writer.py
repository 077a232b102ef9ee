"""Writing a block: one whole shard file for each array of a campaign, then the done-record.

All files of the block are staged and flushed first, then renamed, then recorded: a block with a record is
whole, and a writer killed anywhere leaves at most temporary files and files that the next attempt replaces.
Two writers of one block are harmless: equal bytes replace each other, and where a finished block has other
bytes (a teacher that is not deterministic), the finished ones stay. Cost: one pass over the rows for the
bytes and their sha256, two flushes a file; nothing is held but one plane.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fdbpl.cache_layout.array_spec import ArraySpec
from fdbpl.cache_layout.blocks import Block
from fdbpl.cache_layout.campaigns import Campaign
from fdbpl.cache_layout.errors import CacheError, NotFinite
from fdbpl.cache_layout.files import publish, staged_file
from fdbpl.cache_layout.records import BlockRecord, ShardRecord
from fdbpl.cache_layout.shard import ShardEncoder
from fdbpl.cache_layout.store import Store, file_size

log = logging.getLogger(__name__)


def write_block(store: Store, campaign: str, block: Block, rows: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write every array's rows of one block and record them.

    Args:
        store: open.
        campaign: whose arrays are written, all of them.
        block: one of `store.blocks(campaign)`.
        rows: for each array [images of the block, seeds of the block, *row_shape], of the array's dtype.

    Raises:
        ValueError: a block of another grid, arrays missing or unknown, another shape or dtype.
        NotFinite: NaN or infinity, with the first view that has one.
        CacheError: the campaign is sealed with other bytes.
        OSError: the disk is full or fails; nothing is left under a final or temporary name but whole files.
    """
    store.require_current()
    target = store.campaign(campaign)
    _check_rows(store, target, block, rows)
    finals = {spec.name: store.path / spec.file_name(block) for spec in target.arrays}
    with ExitStack() as stack:
        staged: dict[str, Path] = {}
        record: dict[str, ShardRecord] = {}
        for spec in target.arrays:
            encoder = ShardEncoder(rows[spec.name], spec, target.grid)
            path, file = stack.enter_context(staged_file(finals[spec.name].parent, encoder))
            staged[spec.name] = path
            planes = tuple(encoder.plane_crc32c)
            record[spec.name] = ShardRecord(size=file.size, sha256=file.sha256, plane_crc32c=planes)
        if not _may_publish(store, campaign, block, record, finals):
            return
        for name, path in staged.items():
            publish(path, finals[name])
    if not store.campaign(campaign).vouches_for(block):
        store.pending(campaign).save(block, record)


def _may_publish(store: Store, name: str, block: Block, record: BlockRecord, finals: Mapping[str, Path]) -> bool:
    """Whether the staged files may take their names: a finished block with other bytes keeps its own."""
    campaign = store.campaign(name)
    if campaign.vouches_for(block):
        if store.records(campaign).get(block) != record:
            raise CacheError(
                f"block {block.id} of campaign {name} in {store.path} is sealed with other bytes: found another "
                "result than the one recorded; where the stored one is damaged, `fdbpl cache repair` lets it be "
                "written anew"
            )
        return True
    done = store.pending(name).load(block, record)
    if done is None or done == record or any(file_size(finals[array]) != done[array].size for array in finals):
        return True
    log.warning(
        "block %s of campaign %s was finished by another attempt with other bytes: that one stays",
        block.id,
        name,
    )
    return False


def _check_rows(store: Store, campaign: Campaign, block: Block, rows: Mapping[str, npt.NDArray[Any]]) -> None:
    if campaign.grid.block(block.image_block, block.seed_block) != block:
        raise ValueError(f"block {block.id}: found {block}, expected a block of the grid {campaign.grid}")
    expected = {spec.name for spec in campaign.arrays}
    if rows.keys() != expected:
        raise ValueError(f"campaign {campaign.name}: found rows for {sorted(rows)}, expected {sorted(expected)}")
    for spec in campaign.arrays:
        _check_array(store, spec, block, rows[spec.name])


def _check_array(store: Store, spec: ArraySpec, block: Block, rows_NS: npt.NDArray[Any]) -> None:
    shape = (len(block.images), len(block.seeds), *spec.row_shape)
    if rows_NS.shape != shape or rows_NS.dtype.newbyteorder("<") != spec.numpy_dtype:
        raise ValueError(
            f"array {spec.name}, block {block.id}: found {rows_NS.dtype} {rows_NS.shape}, expected {spec.dtype} {shape}"
        )
    if spec.is_float:
        for number, seed in enumerate(block.seeds):  # seed by seed: the mask of a whole block would be large
            finite_N = np.isfinite(rows_NS[:, number]).reshape(len(rows_NS), -1).all(axis=1)
            if not finite_N.all():
                path = store.images.paths[block.images[int(np.argmin(finite_N))]]
                raise NotFinite(
                    f"array {spec.name}, block {block.id}: found NaN or infinity, first for image {path}, seed {seed}, "
                    "expected finite values; nothing was written: check the teacher and the image"
                )
