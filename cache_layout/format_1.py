"""Stores of format version 1, which can be read, not added to.

They differ from later ones in three things: the grid is the store's and does not grow; the image index is
`images/*` itself; and a sealed campaign holds its records as JSON, without the planes' checksums.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fdbpl.cache_layout.array_spec import ArraySpec
from fdbpl.cache_layout.blocks import BlockGrid
from fdbpl.cache_layout.manifest import canonical_json, digest_of
from fdbpl.cache_layout.records import RecordTable, ShardRecord


@dataclass(frozen=True, kw_only=True)
class LegacyCampaign:
    """A campaign of format version 1; the digests are None where it is not sealed."""

    arrays: tuple[ArraySpec, ...]
    grid: BlockGrid
    records: RecordTable | None
    digest: str | None
    sealed_digest: str | None


def campaign_of(
    name: str, fields: Mapping[str, Any], fingerprint: str, grid_fields: Mapping[str, int]
) -> LegacyCampaign:
    """A campaign from its group's attribute; `grid_fields` is the store's grid as its root has it."""
    arrays = tuple(ArraySpec.from_json(array, spec) for array, spec in fields["arrays"].items())
    grid = grid_of(grid_fields)
    if "seal" not in fields:
        return LegacyCampaign(arrays=arrays, grid=grid, records=None, digest=None, sealed_digest=None)
    covered = {"fingerprint": fingerprint, "campaign": name}
    covered |= {key: fields[key] for key in ("arrays", "manifest", "records")}
    table = RecordTable.empty(grid, [spec.name for spec in arrays], num_planes=0)
    for block in grid.blocks():
        files = fields["records"][block.id]
        table.put(block, {array: ShardRecord(**file, plane_crc32c=()) for array, file in files.items()})
    return LegacyCampaign(
        arrays=arrays,
        grid=grid,
        records=table,
        digest=digest_of(canonical_json(covered).encode()),
        sealed_digest=fields["seal"]["digest"],
    )


def grid_of(fields: Mapping[str, int]) -> BlockGrid:
    """The one grid of a store of format version 1."""
    return BlockGrid(
        image_counts=(fields["num_images"],),
        num_seeds=fields["num_seeds"],
        images_per_block=fields["images_per_block"],
        seeds_per_block=fields["seeds_per_block"],
    )
