"""What of a store may be read: how far each campaign was sealed when the store was opened.

It is looked at once; what is added later is seen by the next one. Picklable: another process gets the seals
that this one saw, and reads no further.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from fdbpl.cache_layout.array_spec import ArraySpec
from fdbpl.cache_layout.blocks import BlockGrid
from fdbpl.cache_layout.campaigns import campaign_names
from fdbpl.cache_layout.errors import DamagedFile, ManifestMismatch, UnknownArray, UnsealedStore
from fdbpl.cache_layout.images import ImageIndex
from fdbpl.cache_layout.manifest import differences
from fdbpl.cache_layout.records import RecordTable
from fdbpl.cache_layout.store import Store, open_store


class Readable:
    """The arrays of a store and the grids over which they may be read.

    Args:
        campaigns: those whose common extent counts as the store's; all where None.
        allow_unsealed: take all that a campaign shall cover, written or not.
        seals: digests that another one saw, by campaign: read as far as that one and no further.

    Raises:
        UnknownArray: a campaign that the store does not have.
    """

    def __init__(
        self,
        store: Store,
        campaigns: Sequence[str] | None,
        *,
        allow_unsealed: bool,
        seals: Mapping[str, str | None] | None = None,
    ) -> None:
        found = {name: store.campaign(name) for name in campaign_names(store.path)}
        self.store, self.allow_unsealed, self._found = store, allow_unsealed, found
        self.campaigns = tuple(found) if campaigns is None else tuple(campaigns)
        self.specs = {spec.name: spec for campaign in found.values() for spec in campaign.arrays}
        self._owners = {spec.name: campaign for campaign in found.values() for spec in campaign.arrays}
        self._seals = {name: campaign.seal_digest for name, campaign in found.items()} if seals is None else dict(seals)
        self._grids = {
            name: campaign.grid if allow_unsealed else campaign.grid_of_seal(self._seals.get(name))
            for name, campaign in found.items()
        }
        for name in self.campaigns:
            store.campaign(name)  # refuses an unknown name

    @property
    def grid(self) -> BlockGrid:
        """The images and seeds that all of `campaigns` have."""
        grids = [grid for name in self.campaigns or self._grids if (grid := self._grids[name]) is not None]
        fewest_images = min((grid.image_counts for grid in grids), key=len)
        return replace(grids[0], image_counts=fewest_images, num_seeds=min(grid.num_seeds for grid in grids))

    def images(self) -> ImageIndex:
        """The index of the images of `grid`; DamagedFile where it is not the one that the seals vouch for."""
        found = self.store.image_digests(len(self.grid.image_counts))
        for campaign in self._found.values():
            for seal in campaign.seals:
                for number, (digest, expected) in enumerate(zip(found, seal.images, strict=False)):
                    if digest != expected:
                        told = f"images/{number}: found digest {digest}, expected {expected}, as sealed"
                        raise DamagedFile(str(self.store.path), [told])
        return self.store.images_of(self.grid)

    def spec(self, array: str) -> ArraySpec:
        """An array by name; UnknownArray where there is none."""
        if array not in self.specs:
            raise UnknownArray(str(self.store.path), "array", array, sorted(self.specs))
        return self.specs[array]

    def grid_of(self, array: str) -> BlockGrid:
        """How far an array may be read; UnsealedStore where its campaign was not sealed."""
        name = self._owners[self.spec(array).name].name
        self.require_sealed([name])
        grid = self._grids[name]
        assert grid is not None
        return grid

    def records(self, array: str) -> RecordTable:
        """The records of the files that may be read."""
        owner = self._owners[array]
        return self.store.records(owner) if self.allow_unsealed else self.store.sealed_records(owner)

    def require_sealed(self, campaigns: Sequence[str]) -> None:
        """UnsealedStore unless all of these campaigns may be read; UnknownArray for one that is not there."""
        missing = {
            name: [block.id for block in self.store.missing_blocks(name)]
            for name in campaigns
            if self._grids.get(name) is None
        }
        if missing:
            raise UnsealedStore(str(self.store.path), missing)

    def __reduce__(self) -> tuple[Any, ...]:
        options = {"allow_unsealed": self.allow_unsealed, "seals": self._seals}
        return _reopen, (str(self.store.path), self.store.manifest.fingerprint, self.campaigns, options)


def _reopen(path: str, fingerprint: str, campaigns: Sequence[str], options: Mapping[str, Any]) -> Readable:
    store = open_store(path)
    gaps = differences({"fingerprint": store.manifest.fingerprint}, {"fingerprint": fingerprint})
    if gaps:
        raise ManifestMismatch(path, gaps)
    readable = Readable(store, campaigns, **options)
    readable.require_sealed(campaigns)
    return readable
