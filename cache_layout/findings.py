"""What a check of a store found: plain values that print, travel as JSON, and tell `repair` what to withdraw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

MISSING, SIZE, DAMAGED, SWAPPED = "missing", "size", "damaged", "swapped"
NOT_FINITE, NOT_UNIT = "not_finite", "not_unit"
METADATA, FOREIGN, INCOMPLETE = "metadata", "foreign", "incomplete"
KINDS = (MISSING, SIZE, DAMAGED, SWAPPED, NOT_FINITE, NOT_UNIT, METADATA, FOREIGN, INCOMPLETE)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is not as it should be.

    Args:
        kind: one of `KINDS`.
        file: its path inside the store; of `incomplete`, the campaign's group.
        what: found, expected, and what it means, in words.
        campaign, block: whose file it is; empty where it belongs to no block.
        views: how many views cannot be trusted, `seeds` x `images` of the block.
        seeds: of the planes that are harmed.
        images: the first and the last image that is harmed; empty where none is.
        paths: of the first few of these images.
    """

    kind: str
    file: str
    what: str
    campaign: str = ""
    block: str = ""
    views: int = 0
    seeds: tuple[int, ...] = ()
    images: tuple[int, ...] = ()
    paths: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind: found {self.kind!r}, expected one of {KINDS}")
        for name in ("seeds", "images", "paths"):
            object.__setattr__(self, name, tuple(getattr(self, name)))


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The result of `verify`.

    `files`, `bytes` and `views` count the shard files that have a record and what they hold by it; `bytes_read`
    what was read of them now (less where an interrupted run was gone on with). `notes` tell of things that do no
    harm. `fingerprint` is empty where the store's root could not be read.
    """

    store: str
    fingerprint: str
    files: int = 0
    bytes: int = 0
    bytes_read: int = 0
    views: int = 0
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def is_sound(self) -> bool:
        """Whether all that is there is as it should be; blocks that are not written yet do no harm."""
        return all(finding.kind == INCOMPLETE for finding in self.findings)

    @property
    def harmed_views(self) -> int:
        """Views that cannot be trusted, each counted once for every array that has them wrong."""
        return sum(finding.views for finding in self.findings if finding.kind != INCOMPLETE)

    def to_json(self) -> dict[str, Any]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        listed = {"findings": [asdict(finding) for finding in self.findings], "notes": list(self.notes)}
        return {**values, **listed, "harmed_views": self.harmed_views, "is_sound": self.is_sound}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Verification:
        """The report that `to_json` made; ValueError where it is none."""
        try:
            known = {field.name: values[field.name] for field in fields(cls)}
            known |= {"findings": tuple(Finding(**each) for each in values["findings"])}
            return cls(**{**known, "notes": tuple(values["notes"])})
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"found no report of `fdbpl cache verify --json` ({error!r}), expected its fields"
            ) from error


def named(items: Sequence[object], limit: int = 5) -> str:
    """The first few of many, and how many more there are."""
    rest = f" and {len(items) - limit} more" if len(items) > limit else ""
    return ", ".join(map(str, items[:limit])) + rest
