"""The store as a whole: making it, opening it, and asking what is written.

A store appears whole: it is built under a temporary name beside its path, flushed, and renamed, so of two
processes that make it at once one wins and the other opens the winner's and compares. Opening checks the
format version and that the fingerprint fits the manifest. What is written is always asked of the disk,
never remembered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from fdbpl.cache_layout.array_spec import ArraySpec
from fdbpl.cache_layout.blocks import Block, BlockGrid
from fdbpl.cache_layout.build import build_store, install_arrays
from fdbpl.cache_layout.campaigns import (
    BlockRecord,
    Campaign,
    campaign_names,
    load_campaign,
    load_records,
    read_attributes,
    save_campaign,
)
from fdbpl.cache_layout.class_list import ClassList
from fdbpl.cache_layout.compare import campaign_differences, check_campaigns, class_differences
from fdbpl.cache_layout.errors import CacheError, ManifestMismatch, UnknownArray
from fdbpl.cache_layout.images import ImageIndex
from fdbpl.cache_layout.manifest import ABSENT, Difference, Manifest, all_differences, differences
from fdbpl.cache_layout.tables import class_list_names, read_class_list, read_images

__all__ = ["ArraySpec", "Store", "add_campaign", "create_store", "open_store"]

FORMAT_VERSION = 1
ATTRIBUTE = "fdbpl"


@dataclass(frozen=True, kw_only=True)
class Store:
    """An open store; it holds no file open and may be pickled."""

    path: Path
    manifest: Manifest
    grid: BlockGrid
    images_digest: str

    @cached_property
    def images(self) -> ImageIndex:
        """The image index, read and checked once."""
        return read_images(self.path, self.images_digest)

    @property
    def class_lists(self) -> tuple[str, ...]:
        """The names of the class lists."""
        return class_list_names(self.path)

    def class_list(self, name: str) -> ClassList:
        """A class list with its text embedding; UnknownArray where there is none of this name."""
        return read_class_list(self.path, name)

    @property
    def campaigns(self) -> dict[str, tuple[ArraySpec, ...]]:
        """The arrays of each campaign."""
        return {name: self.campaign(name).arrays for name in campaign_names(self.path)}

    @property
    def arrays(self) -> dict[str, ArraySpec]:
        """All arrays by name."""
        return {spec.name: spec for specs in self.campaigns.values() for spec in specs}

    def campaign(self, name: str) -> Campaign:
        """A campaign as it is on disk now; UnknownArray where there is none of this name."""
        try:
            return load_campaign(self.path, name, self.manifest.fingerprint)
        except KeyError:
            raise UnknownArray(str(self.path), "campaign", name, campaign_names(self.path)) from None

    @property
    def is_sealed(self) -> bool:
        """Whether every campaign is sealed."""
        return all(self.campaign(name).is_sealed for name in campaign_names(self.path))

    def blocks(self, campaign: str) -> list[Block]:
        """All blocks of a campaign, written or not."""
        self.campaign(campaign)
        return list(self.grid.blocks())

    def missing_blocks(self, campaign: str) -> list[Block]:
        """Blocks without a done-record, or with a file that is gone or has another size than recorded."""
        arrays = self.campaign(campaign).arrays
        records = self.records(campaign)
        return [
            block
            for block in self.grid.blocks()
            if block.id not in records
            or any(file_size(self.path / spec.file_name(block)) != records[block.id][spec.name].size for spec in arrays)
        ]

    def records(self, campaign: str) -> dict[str, BlockRecord]:
        """The done-records of a campaign's finished blocks, by block id."""
        return load_records(self.path, self.campaign(campaign), self.grid, self.manifest.fingerprint)


def create_store(
    path: str | Path,
    *,
    manifest: Manifest,
    images: ImageIndex,
    class_lists: Sequence[ClassList],
    num_seeds: int,
    images_per_block: int,
    seeds_per_block: int,
    campaigns: Mapping[str, Sequence[ArraySpec]],
) -> Store:
    """Make a store, or open the one at `path` if it is the same.

    Args:
        path: of the store; the folders above are made.
        manifest: all that changes a label.
        images: the N images, in order.
        class_lists: written to `classes/<name>`.
        num_seeds: S, crops of each image.
        images_per_block: images in one file, at most N is useful.
        seeds_per_block: seeds in one file.
        campaigns: the arrays that each pass writes together.

    Raises:
        ValueError: names or numbers that no store can have.
        ManifestMismatch: the store at `path` has another manifest, grid, image index, class list or array.
        CacheError: `path` holds something that is not a store.
    """
    path = Path(path).absolute()
    grid = BlockGrid(
        num_images=len(images),
        num_seeds=num_seeds,
        images_per_block=images_per_block,
        seeds_per_block=seeds_per_block,
    )
    check_campaigns(campaigns)
    if not _is_occupied(path):
        fields = {
            "format_version": FORMAT_VERSION,
            "manifest": manifest.fields,
            "fingerprint": manifest.fingerprint,
            "grid": grid.to_json(),
            "images": images.digest,
        }
        build_store(path, {ATTRIBUTE: fields}, images, class_lists, campaigns, grid)
    store = open_store(path)
    gaps = all_differences(store.manifest, manifest)
    gaps += differences(
        {"grid": store.grid.to_json(), "images": store.images_digest},
        {"grid": grid.to_json(), "images": images.digest},
    )
    gaps += campaign_differences(store.campaigns, campaigns)
    gaps += _class_list_differences(store, class_lists)
    if gaps:
        raise ManifestMismatch(str(path), gaps)
    return store


def open_store(path: str | Path) -> Store:
    """Open a store; CacheError where there is none, of another format version, or with a changed manifest."""
    path = Path(path).absolute()
    try:
        fields = read_attributes(path).get(ATTRIBUTE)
    except (FileNotFoundError, NotADirectoryError):
        fields = None
    if fields is None:
        raise CacheError(f"no store at {path}: `fdbpl teach CONFIG` makes one")
    if fields["format_version"] != FORMAT_VERSION:
        raise CacheError(
            f"the store at {path}: found format version {fields['format_version']}, expected "
            f"{FORMAT_VERSION}; read it with the fdbpl that wrote it, or make it anew"
        )
    manifest = Manifest(fields["manifest"])
    if manifest.fingerprint != fields["fingerprint"]:
        raise CacheError(
            f"the store at {path}: the manifest has fingerprint {manifest.fingerprint}, expected "
            f"{fields['fingerprint']}; it was changed after the store was made: restore it, or make another"
        )
    grid = BlockGrid(**fields["grid"])
    return Store(path=path, manifest=manifest, grid=grid, images_digest=fields["images"])


def add_campaign(
    store: Store, name: str, specs: Sequence[ArraySpec], manifest: Mapping[str, Any] | None = None
) -> Store:
    """Add arrays to a store, sealed or not; they are written and sealed by themselves. Idempotent.

    Args:
        manifest: what the arrays are made with beyond the store's own manifest, as JSON fields.

    Raises:
        ValueError: names that no store can have, or an array that another campaign has.
        ManifestMismatch: the campaign is there with other arrays or another manifest.
    """
    fields = Manifest(manifest or {}).fields
    campaigns = store.campaigns
    check_campaigns({**campaigns, name: specs})
    if name not in campaigns:
        install_arrays(store.path, name, specs, store.grid)
        save_campaign(store.path, Campaign(name=name, arrays=tuple(specs), manifest=fields))
    gaps = campaign_differences(store.campaigns, {name: specs})
    gaps += all_differences(store.campaign(name).manifest, fields)
    if gaps:
        raise ManifestMismatch(str(store.path), gaps)
    return store


def file_size(path: Path) -> int | None:
    """Size of a file in bytes; None where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _is_occupied(path: Path) -> bool:
    """Whether there is anything but an empty folder."""
    return path.exists() and not (path.is_dir() and not any(path.iterdir()))


def _class_list_differences(store: Store, class_lists: Sequence[ClassList]) -> list[Difference]:
    gaps: list[Difference] = []
    for classes in class_lists:
        if classes.name in store.class_lists:
            gaps += class_differences(store.class_list(classes.name), classes)
        else:
            gaps.append(Difference(f"class_lists.{classes.name}", ABSENT, f"{len(classes)} classes"))
    return gaps
