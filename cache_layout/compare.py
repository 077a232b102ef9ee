"""Comparing what a caller wants in a store with what is there, field by field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fdbpl.cache_layout.array_spec import ArraySpec
from fdbpl.cache_layout.class_list import ClassList
from fdbpl.cache_layout.manifest import Difference, all_differences
from fdbpl.cache_layout.names import check_name

# Two machines round the same text embedding otherwise; another teacher's differs by far more.
EMBEDDING_TOLERANCE = 0.01


def check_campaigns(campaigns: Mapping[str, Sequence[ArraySpec]]) -> None:
    """ValueError for a campaign without arrays, an array twice, or one array inside another."""
    owners: dict[str, str] = {}
    for name, specs in campaigns.items():
        check_name(name, "campaign")
        if not specs:
            raise ValueError(f"campaign {name}: found no array, expected at least one")
        for spec in specs:
            if spec.name in owners:
                first = owners[spec.name]
                raise ValueError(f"array {spec.name}: found in {first} and again in {name}, expected it once")
            owners[spec.name] = name
    for array in owners:
        inside = [other for other in owners if other.startswith(f"{array}/")]
        if inside:
            raise ValueError(f"array {inside[0]}: found inside array {array}, expected a name of its own")


def campaign_differences(
    found: Mapping[str, Sequence[ArraySpec]], expected: Mapping[str, Sequence[ArraySpec]]
) -> list[Difference]:
    """Every array of the expected campaigns that is missing, other, or not asked for."""
    return [
        Difference(f"campaigns.{name}.{gap.field}", gap.found, gap.expected)
        for name, specs in expected.items()
        for gap in all_differences(_arrays_json(found.get(name, ())), _arrays_json(specs))
    ]


def class_differences(
    found: ClassList, expected: ClassList, tolerance: float = EMBEDDING_TOLERANCE
) -> list[Difference]:
    """Names, templates and embedding of a class list where they differ, its numbers by more than `tolerance`."""
    where = f"class_lists.{expected.name}"
    gaps = [
        Difference(f"{where}.{field}", list(getattr(found, field)), list(getattr(expected, field)))
        for field in ("class_names", "templates")
        if getattr(found, field) != getattr(expected, field)
    ]
    left_CD, right_CD = found.text_embedding_CD, expected.text_embedding_CD
    if left_CD.shape != right_CD.shape:
        gaps.append(Difference(f"{where}.text_embedding.shape", list(left_CD.shape), list(right_CD.shape)))
    elif (distance := float(np.abs(left_CD - right_CD).max())) > tolerance:
        gaps.append(Difference(f"{where}.text_embedding", f"{distance:.3g} apart", f"at most {tolerance}"))
    return gaps


def _arrays_json(specs: Sequence[ArraySpec]) -> dict[str, Any]:
    return {spec.name: spec.to_json() for spec in specs}
