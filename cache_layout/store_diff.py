"""Where two stores differ, in everything that they state and in every file's content, by their metadata alone.

Two stores without a difference hold the same labels of the same images, in the same bytes; whether the files
still are what is recorded of them, verifying tells. Cost: reads the metadata of both, looks at no shard.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fdbpl.cache_layout.blocks import Block, BlockGrid
from fdbpl.cache_layout.campaigns import Campaign
from fdbpl.cache_layout.compare import class_differences
from fdbpl.cache_layout.images import ImageIndex
from fdbpl.cache_layout.manifest import ABSENT, Difference, all_differences
from fdbpl.cache_layout.store import Store, open_store

MOST_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class Named:
    """How many things of a kind, and the names of the first few."""

    count: int = 0
    first: tuple[str, ...] = ()

    @classmethod
    def of(cls, names: list[str]) -> Named:
        return cls(count=len(names), first=tuple(names[:MOST_NAMED]))

    def to_json(self) -> dict[str, Any]:
        return {"count": self.count, "first": list(self.first)}


@dataclass(frozen=True, kw_only=True)
class ContentDiff:
    """The files of a campaign that both stores have, by their records.

    `compared` files are of blocks that are finished in both; `other` have another sha256. `why_not` says why files
    cannot be compared at all: empty where they were.
    """

    compared: int = 0
    other: Named = field(default_factory=Named)
    only_a: Named = field(default_factory=Named)
    only_b: Named = field(default_factory=Named)
    why_not: str = ""

    @property
    def is_equal(self) -> bool:
        return not (self.other.count or self.only_a.count or self.only_b.count or self.why_not)

    def to_json(self) -> dict[str, Any]:
        kinds = {name: getattr(self, name).to_json() for name in ("other", "only_a", "only_b")}
        return {"compared": self.compared, **kinds, "why_not": self.why_not}


@dataclass(frozen=True, kw_only=True)
class StoreDiff:
    """What is different between stores A and B.

    `fields`: found in A, expected as in B; each begins with the section it is of: `format_version`, `blocks`,
    `manifest`, `class_lists`, `campaigns`. `images`: by path, whether they are in one store only, or in both with
    another digest, size, label or number. `content`: of each campaign that both have.
    """

    fields: tuple[Difference, ...]
    images: Mapping[str, Named]
    content: Mapping[str, ContentDiff]

    @property
    def is_equal(self) -> bool:
        no_images = not any(named.count for named in self.images.values())
        return not self.fields and no_images and all(content.is_equal for content in self.content.values())

    def to_json(self) -> dict[str, Any]:
        return {
            "equal": self.is_equal,
            "fields": [_field_json(difference) for difference in self.fields],
            "images": {kind: named.to_json() for kind, named in self.images.items()},
            "content": {name: content.to_json() for name, content in self.content.items()},
        }


def diff_stores(a: str | Path, b: str | Path) -> StoreDiff:
    """Compare two stores. CacheError where one is none, or its metadata are damaged."""
    left, right = open_store(a), open_store(b)
    both = [name for name in left.campaigns if name in right.campaigns]
    images = image_differences(left.images, right.images)
    return StoreDiff(
        fields=(
            *all_differences({"format_version": left.version}, {"format_version": right.version}),
            *all_differences({"blocks": _blocks(left)}, {"blocks": _blocks(right)}),
            *all_differences({"manifest": left.manifest.fields}, {"manifest": right.manifest.fields}),
            *_class_list_differences(left, right),
            *all_differences({"campaigns": _campaigns(left)}, {"campaigns": _campaigns(right)}),
        ),
        images=images,
        content={name: _content(left, right, name, images) for name in both},
    )


def image_differences(a: ImageIndex, b: ImageIndex) -> dict[str, Named]:
    """Images by their paths: in one only, or in both and other; `other_number` where only the order differs."""
    numbers = {path: number for number, path in enumerate(b.paths)}
    at_A = np.array([numbers.get(path, -1) for path in a.paths])
    common = np.flatnonzero(at_A >= 0)
    there = at_A[common]
    other = {
        "other_digest": (a.digests_N32[common] != b.digests_N32[there]).any(axis=1),
        "other_size": (a.sizes_N2[common] != b.sizes_N2[there]).any(axis=1),
        "other_label": a.labels_N[common] != b.labels_N[there],
        "other_number": common != there,
    }
    known = set(a.paths)
    found = {
        "only_a": [a.paths[number] for number in np.flatnonzero(at_A < 0)],
        "only_b": [path for path in b.paths if path not in known],
    }
    found |= {kind: [a.paths[number] for number in common[is_other]] for kind, is_other in other.items()}
    return {kind: Named.of(names) for kind, names in found.items()}


def _class_list_differences(a: Store, b: Store) -> list[Difference]:
    gaps: list[Difference] = []
    for name in sorted({*a.class_lists, *b.class_lists}):
        if name not in a.class_lists or name not in b.class_lists:
            counts = [f"{len(s.class_list(name))} classes" if name in s.class_lists else ABSENT for s in (a, b)]
            gaps.append(Difference(f"class_lists.{name}", *counts))
        else:
            gaps += class_differences(a.class_list(name), b.class_list(name), tolerance=0)
    return gaps


def _blocks(store: Store) -> dict[str, int]:
    return {name: store.blocks_json[name] for name in ("images_per_block", "seeds_per_block")}


def _campaigns(store: Store) -> dict[str, Any]:
    return {name: _campaign(store.campaign(name)) for name in store.campaigns}


def _campaign(campaign: Campaign) -> dict[str, Any]:
    """What a campaign states, as fields to be compared."""
    return {
        "arrays": {spec.name: spec.to_json() for spec in campaign.arrays},
        "manifest": dict(campaign.manifest),
        "grid": campaign.grid.to_json(),
        "sealed": campaign.is_sealed,
        "seals": [seal.digest for seal in campaign.seals],
        "withdrawn": list(campaign.withdrawn),
    }


def _content(a: Store, b: Store, name: str, images: Mapping[str, Named]) -> ContentDiff:
    """Compare the records of the blocks that are the same views in both stores."""
    left, right = a.campaign(name), b.campaign(name)
    if why_not := _why_not(a, b, images):
        return ContentDiff(why_not=why_not)
    records = a.records(left), b.records(right)
    specs = [spec for spec in left.arrays if spec in right.arrays]
    other: list[str] = []
    only: tuple[list[str], list[str]] = ([], [])
    compared = 0
    for place in sorted({*_places(left.grid), *_places(right.grid)}):
        block_a, block_b = _block(left.grid, place), _block(right.grid, place)
        found = [
            table.get(block) if block is not None else None
            for table, block in zip(records, (block_a, block_b), strict=True)
        ]
        for spec in specs:
            some_block = block_a or block_b
            assert some_block is not None
            file = spec.file_name(some_block)
            if found[0] is not None and found[1] is not None:
                compared += 1
                if found[0][spec.name].sha256 != found[1][spec.name].sha256:
                    other.append(file)
            elif found[0] is not None or found[1] is not None:
                only[found[0] is None].append(file)
    return ContentDiff(compared=compared, other=Named.of(other), only_a=Named.of(only[0]), only_b=Named.of(only[1]))


def _why_not(a: Store, b: Store, images: Mapping[str, Named]) -> str:
    """Why files of one name do not hold the same views, or not in the same layout."""
    if a.version != b.version:
        return "another format version: the files' layout differs"
    if _blocks(a) != _blocks(b):
        return "other blocks: the files hold other views"
    if images["other_number"].count:
        return "another order of images: the files hold other views"
    return ""


def _places(grid: BlockGrid) -> Iterator[tuple[int, int]]:
    return itertools.product(range(grid.num_image_blocks), range(grid.num_seed_blocks))


def _block(grid: BlockGrid, place: tuple[int, int]) -> Block | None:
    image_block, seed_block = place
    inside = image_block < grid.num_image_blocks and seed_block < grid.num_seed_blocks
    return grid.block(image_block, seed_block) if inside else None


def _field_json(difference: Difference) -> dict[str, Any]:
    """A field with its value in A and in B, left out where the store does not have it."""
    sides = {"a": difference.found, "b": difference.expected}
    return {"field": difference.field, **{side: value for side, value in sides.items() if value is not ABSENT}}
