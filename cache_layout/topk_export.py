"""A smaller store made of a sealed one: of each view's logits only the K largest are kept, the embedding is left out.

The new store is an ordinary one, mappable and sealed, with a manifest, and so a fingerprint, of its own that
names the store it was made of. Images, seeds, blocks and class lists are the old one's; crops and other arrays
of the teacher's campaign come along, other campaigns where they are asked for. It appears whole. Cost: reads
the source plane by plane, each compared with its crc32c; holds a block of the new rows, and one plane of logits.

Axis letters: N images and S seeds of a block, B views, C classes, K kept classes.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fdbpl.cache_layout.array_spec import ArraySpec
from fdbpl.cache_layout.blocks import Block, BlockGrid
from fdbpl.cache_layout.campaigns import Campaign
from fdbpl.cache_layout.copy_files import OnProgress
from fdbpl.cache_layout.create import create_store
from fdbpl.cache_layout.disk_space import Plan, bytes_on_disk, free_bytes, full_disk_told, require_space
from fdbpl.cache_layout.encodings import EMBEDDING, LOGITS, TOPK, encode_topk, label_arrays
from fdbpl.cache_layout.errors import UnknownArray
from fdbpl.cache_layout.grow import add_campaign, add_images, grow_campaign
from fdbpl.cache_layout.images import ImageIndex
from fdbpl.cache_layout.manifest import Manifest
from fdbpl.cache_layout.reader import Reader, open_reader
from fdbpl.cache_layout.seal import seal
from fdbpl.cache_layout.sealed_part import SealedPart, sealed_part
from fdbpl.cache_layout.shard import index_bytes, plane_stride
from fdbpl.cache_layout.store import Store, open_store
from fdbpl.cache_layout.tables import read_images
from fdbpl.cache_layout.whole_folder import free_place, sweep_dead, whole_folder
from fdbpl.cache_layout.writer import write_block


def export_topk(
    source: str | Path,
    out: str | Path,
    *,
    k: int,
    campaigns: Sequence[str] = (),
    on_progress: OnProgress | None = None,
) -> Path:
    """Write a store whose labels are the K largest logits of each view; its path.

    `teacher/topk_value` float16 [N, S, K] holds them less the view's largest, in falling order, `topk_index`
    their class numbers, `logsumexp` float32 [N, S] the logarithm of the sum over all C classes, on the same scale.

    Args:
        out: path of the store, where nothing is yet.
        k: K, 1 to C.
        campaigns: that come along beside the one that has the logits.
        on_progress: called with (views written, views in all).

    Raises:
        ValueError: another K, `out` is there or inside the source.
        UnknownArray: the source has no `teacher/logits`, or not this campaign.
        CacheError: no store, one that was derived already, a campaign that is not sealed, a damaged plane.
        NoSpace: the disk is too small or full; nothing is left there.
    """
    derived = _Derived.of(source, k, campaigns)
    place = free_place(out, derived.part.store.path)
    needed = derived.num_bytes()
    require_space(place.parent, needed)
    sweep_dead(place)
    with full_disk_told(place.parent, needed), whole_folder(place) as building:
        # Built one folder deeper, since a store is made where nothing is.
        store = derived.create(building / "store")
        _write_rows(derived, store, on_progress)
        seal(store.path)
        for entry in list(store.path.iterdir()):
            entry.rename(building / entry.name)
        shutil.rmtree(store.path)
    return place


def plan_topk(source: str | Path, out: str | Path, *, k: int, campaigns: Sequence[str] = ()) -> Plan:
    """What `export_topk` would write. Errors as of that."""
    derived = _Derived.of(source, k, campaigns)
    place = free_place(out, derived.part.store.path)
    files = sum(campaign.grid.num_blocks * len(derived.specs(campaign)) for campaign in derived.part.campaigns.values())
    return Plan(target=place, num_files=files, num_bytes=derived.num_bytes(), free_bytes=free_bytes(place.parent))


class _Derived(NamedTuple):
    """What is made of which part of a store: `teacher` is the campaign with the logits."""

    part: SealedPart
    teacher: Campaign
    k: int

    @classmethod
    def of(cls, source: str | Path, k: int, campaigns: Sequence[str]) -> _Derived:
        store = open_store(source)
        if LOGITS not in store.arrays:
            raise UnknownArray(str(store.path), "array", LOGITS, sorted(store.arrays))
        owner = next(name for name, specs in store.campaigns.items() if LOGITS in {spec.name for spec in specs})
        part = sealed_part(store, [owner, *campaigns])
        num_classes = store.arrays[LOGITS].row_shape[0]
        if not 1 <= k <= num_classes:
            raise ValueError(f"top-k: found {k}, expected 1 to {num_classes}, the number of classes")
        return cls(part, part.campaigns[owner], k)

    def specs(self, campaign: Campaign) -> tuple[ArraySpec, ...]:
        """The arrays of a campaign in the new store."""
        if campaign.name != self.teacher.name:
            return campaign.arrays
        kept = tuple(spec for spec in campaign.arrays if spec.name not in (EMBEDDING, LOGITS, *TOPK))
        num_classes = next(spec for spec in campaign.arrays if spec.name == LOGITS).row_shape[0]
        return (*kept, *label_arrays(["topk"], width=0, num_classes=num_classes, top_k=self.k))

    def manifest(self) -> Manifest:
        old = self.part.store.manifest
        return Manifest({**old.fields, "derived": {"from": old.fingerprint, "labels": "topk", "k": self.k}})

    def create(self, path: Path) -> Store:
        """The new store without a row, as far as the old one is sealed."""
        old = self.part.store
        grid, images = self.teacher.grid, _image_parts(self.part)
        store = create_store(
            path,
            manifest=self.manifest(),
            images=images[0],
            class_lists=[old.class_list(name) for name in old.class_lists],
            num_seeds=grid.num_seeds,
            images_per_block=grid.images_per_block,
            seeds_per_block=grid.seeds_per_block,
            campaigns={self.teacher.name: self.specs(self.teacher)},
        )
        reached = store.grid
        for part in images[1:]:
            reached = add_images(store, part)
            store = grow_campaign(store, self.teacher.name, reached)
        for name, campaign in self.part.campaigns.items():
            if name != self.teacher.name:
                store = add_campaign(store, name, campaign.arrays, campaign.manifest, campaign.grid)
        return store

    def num_bytes(self) -> int:
        """Room that the new store takes."""
        return self.part.metadata_bytes() + sum(
            campaign.grid.num_blocks * bytes_on_disk(_file_bytes(spec, campaign.grid))
            for campaign in self.part.campaigns.values()
            for spec in self.specs(campaign)
        )


def _image_parts(part: SealedPart) -> list[ImageIndex]:
    store = part.store
    if store.legacy_images is not None:
        return [store.images_of(part.grid)]
    digests = store.image_digests(len(part.grid.image_counts))
    return [read_images(store.path, f"images/{number}", digest) for number, digest in enumerate(digests)]


def _write_rows(derived: _Derived, store: Store, on_progress: OnProgress | None) -> None:
    part = derived.part
    total, done = sum(c.grid.num_images * c.grid.num_seeds for c in part.campaigns.values()), 0
    with open_reader(part.store.path, campaigns=list(part.campaigns), check_planes=True) as reader:
        for campaign in part.campaigns.values():
            specs = derived.specs(campaign)
            for block in store.missing_blocks(campaign.name):
                write_block(store, campaign.name, block, _block_rows(reader, specs, block, derived.k))
                done += block.num_views
                if on_progress is not None:
                    on_progress(done, total)


def _block_rows(reader: Reader, specs: Sequence[ArraySpec], block: Block, k: int) -> dict[str, npt.NDArray[Any]]:
    """The new rows of a block: copied, or made of its logits, seed after seed."""
    shape = (len(block.images), len(block.seeds))
    rows_NS = {spec.name: np.empty((*shape, *spec.row_shape), spec.numpy_dtype) for spec in specs}
    images_N = np.asarray(block.images)
    for number, seed in enumerate(block.seeds):
        seeds_N = np.full(len(images_N), seed)
        for name in rows_NS.keys() - set(TOPK):
            rows_NS[name][:, number] = reader.read(name, images_N, seeds_N)
        if TOPK[0] in rows_NS:
            logits_NC = reader.read(LOGITS, images_N, seeds_N).astype(np.float32)
            for name, values_N in zip(TOPK, encode_topk(logits_NC, k), strict=True):
                rows_NS[name][:, number] = values_N
    return rows_NS


def _file_bytes(spec: ArraySpec, grid: BlockGrid) -> int:
    """Size of a whole shard file."""
    plane = plane_stride(grid.images_per_block * spec.row_bytes, spec.row_bytes)
    return grid.seeds_per_block * plane + index_bytes(grid)
