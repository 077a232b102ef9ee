"""What of a store is sealed, as the files of a store of its own: what a copy or an archive of it is made of.

The chosen campaigns reach as far as they are sealed, no further: where one is being grown, its group and its
arrays' metadata are made for what is sealed. All else is taken as it is. What is sealed never changes, so the
part stays right while the store grows. Cost: reads the metadata, looks at no shard.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from fdbpl.cache_layout.array_spec import ArraySpec
from fdbpl.cache_layout.blocks import Block, BlockGrid
from fdbpl.cache_layout.build import check_metadata
from fdbpl.cache_layout.campaigns import Campaign
from fdbpl.cache_layout.disk_space import bytes_on_disk
from fdbpl.cache_layout.documents import METADATA, document_bytes, group_document
from fdbpl.cache_layout.errors import CacheError, DamagedFile, MissingBlocks, UnsealedStore
from fdbpl.cache_layout.files import TEMPORARY
from fdbpl.cache_layout.manifest import canonical_json, digest_of
from fdbpl.cache_layout.records import ShardRecord
from fdbpl.cache_layout.store import Store


@dataclass(frozen=True, kw_only=True)
class ShardFile:
    """A shard file of the part: its path inside the store, and what it must be."""

    name: str
    spec: ArraySpec
    block: Block
    grid: BlockGrid
    record: ShardRecord

    def problem(self, size: int, sha256: str) -> str | None:
        """What is wrong with a file of this size and digest; None where it is as recorded."""
        if size != self.record.size:
            return f"{self.name}: found {size} bytes, expected {self.record.size}"
        if sha256 != self.record.sha256:
            return f"{self.name}: found sha256 {sha256}, expected {self.record.sha256}"
        return None


@dataclass(frozen=True, kw_only=True)
class SealedPart:
    """Sealed campaigns of a store, each with the grid that is sealed; made by `sealed_part`."""

    store: Store
    campaigns: Mapping[str, Campaign]

    @cached_property
    def identity(self) -> str:
        """64 hex digits: the manifest's fingerprint, what the seals vouch for, and the class lists."""
        lists = [self.store.class_list(name) for name in self.store.class_lists]
        fields = {
            "fingerprint": self.store.manifest.fingerprint,
            "campaigns": {name: campaign.seal_digest for name, campaign in self.campaigns.items()},
            "class_lists": {classes.name: [classes.digest, classes.embedding_digest] for classes in lists},
        }
        return digest_of(canonical_json(fields).encode()).removeprefix("sha256:")

    @property
    def grid(self) -> BlockGrid:
        """That of the campaign with the most images."""
        return max((campaign.grid for campaign in self.campaigns.values()), key=lambda grid: len(grid.image_counts))

    def shards(self) -> Iterator[ShardFile]:
        """Every shard file, array after array."""
        for campaign in self.campaigns.values():
            records = self.store.sealed_records(campaign)
            for spec in campaign.arrays:
                for block in campaign.grid.blocks():
                    record = records.get(block)
                    assert record is not None, f"block {block.id} is sealed and has no record"
                    name = spec.file_name(block)
                    yield ShardFile(name=name, spec=spec, block=block, grid=campaign.grid, record=record[spec.name])

    @property
    def num_files(self) -> int:
        """Shard files."""
        return sum(campaign.grid.num_blocks * len(campaign.arrays) for campaign in self.campaigns.values())

    @property
    def num_bytes(self) -> int:
        """Bytes of all shard files."""
        return sum(shard.record.size for shard in self.shards())

    def disk_bytes(self) -> int:
        """Room that a copy of all of it takes."""
        return self.metadata_bytes() + sum(bytes_on_disk(shard.record.size) for shard in self.shards())

    def documents(self) -> Iterator[tuple[str, bytes]]:
        """The metadata of the groups, by the path inside the store: the root first, then campaigns and groups."""
        yield METADATA, self._bytes(METADATA, self.store.document)
        nodes = [f"records/{name}" for name in self.campaigns] + [spec.name for _, spec in self.arrays()]
        groups = {str(parent) for node in nodes for parent in PurePosixPath(node).parents}
        for group in sorted((groups | {"images", "classes", "records"}) - {".", *nodes}):
            yield f"{group}/{METADATA}", document_bytes(group_document())
        for campaign in self.campaigns.values():
            name = f"records/{campaign.name}/{METADATA}"
            yield name, self._bytes(name, campaign.document)

    def arrays(self) -> Iterator[tuple[BlockGrid, ArraySpec]]:
        """The arrays of the campaigns, each with its grid."""
        for campaign in self.campaigns.values():
            for spec in campaign.arrays:
                yield campaign.grid, spec

    def array_document(self, spec: ArraySpec, grid: BlockGrid) -> bytes:
        """An array's metadata, for what is sealed of it."""
        return self._bytes(f"{spec.name}/{METADATA}", lambda: spec.document(grid))

    def table_files(self) -> Iterator[tuple[str, Path]]:
        """The files of image index, class lists and records, by the path inside the store, and where they are."""
        images = [f"images/{number}" for number in range(len(self.grid.image_counts))]
        folders = ["images"] if self.store.legacy_images is not None else images
        folders += [f"classes/{name}" for name in self.store.class_lists]
        folders += [f"records/{c.name}/{seal.table}" for c in self.campaigns.values() for seal in c.seals if seal.table]
        for folder in folders:
            for path in sorted((self.store.path / folder).rglob("*")):
                if path.is_file() and not path.name.startswith(TEMPORARY):
                    yield path.relative_to(self.store.path).as_posix(), path

    def metadata_bytes(self) -> int:
        """Room that all but the shards takes."""
        sizes = [len(content) for _, content in self.documents()]
        sizes += [len(self.array_document(spec, grid)) for grid, spec in self.arrays()]
        sizes += [path.stat().st_size for _, path in self.table_files()]
        return sum(map(bytes_on_disk, sizes))

    def check_metadata(self) -> None:
        """Read the image index and the arrays' metadata, and compare them with what the seals say.

        Raises:
            CacheError: they are not as they were written; named.
        """
        for campaign in self.campaigns.values():
            digests = self.store.image_digests(len(campaign.grid.image_counts))
            if (expected := campaign.seals[-1].images) and digests != expected:
                raise DamagedFile(str(self.store.path), [f"images: found digests {digests}, expected {expected}"])
        self.store.images_of(self.grid)
        for grid, spec in self.arrays():
            check_metadata(self.store.path, spec, grid)

    def _bytes(self, name: str, document: Callable[[], Mapping[str, Any]]) -> bytes:
        """A document made anew; of format version 1, whose stores do not grow, the file as it is."""
        if self.store.legacy_images is None:
            return document_bytes(document())
        try:
            return (self.store.path / name).read_bytes()
        except FileNotFoundError:
            raise MissingBlocks(str(self.store.path), [f"{name}: missing"]) from None


def sealed_part(store: Store, campaigns: Sequence[str] | None = None) -> SealedPart:
    """The sealed part of a store.

    Args:
        campaigns: which; all that are sealed where None.

    Raises:
        UnknownArray: a campaign that the store does not have.
        UnsealedStore: a campaign that is not sealed, or none that is.
        CacheError: metadata that were changed.
    """
    names = sorted(store.campaigns) if campaigns is None else sorted(set(campaigns))
    if not names:
        raise CacheError(f"the store at {store.path} has no campaign: restore `records`, or make the store anew")
    found = {name: store.campaign(name) for name in names}
    sealed = {name: replace(c, grid=c.sealed_grid) for name, c in found.items() if c.sealed_grid is not None}
    if not sealed or (campaigns is not None and len(sealed) < len(found)):
        open_ones = found.keys() - sealed.keys()
        missing = {name: [block.id for block in store.missing_blocks(name)] for name in sorted(open_ones)}
        raise UnsealedStore(str(store.path), missing)
    return SealedPart(store=store, campaigns=sealed)
