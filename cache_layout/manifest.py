"""The manifest: everything that changes a label, and its fingerprint.

The fingerprint is the sha256 of the manifest's canonical JSON (keys sorted, no spaces, UTF-8, no NaN), so
it depends on nothing but the fields. Comparing names every field that differs, never only the first.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any


class Absent(Enum):
    """Stands in a `Difference` for a field that is not there."""

    ABSENT = "absent"

    def __repr__(self) -> str:
        return "(absent)"


ABSENT = Absent.ABSENT


@dataclass(frozen=True)
class Difference:
    """One field, such as `teacher.model`, with the value found and the value expected."""

    field: str
    found: Any
    expected: Any

    def __str__(self) -> str:
        return f"{self.field}: found {self.found!r}, expected {self.expected!r}"


@dataclass(frozen=True, eq=False)
class Manifest:
    """Nested JSON fields that say how the labels were made.

    Args:
        fields: mapping with string keys; values are str, int, finite float, bool, None, lists and such
            mappings. It is copied; tuples become lists.

    Raises:
        ValueError: a key or value that JSON cannot hold.
    """

    fields: Mapping[str, Any]

    def __post_init__(self) -> None:
        _check_json(self.fields, "manifest")
        object.__setattr__(self, "fields", json.loads(canonical_json(self.fields)))

    @property
    def fingerprint(self) -> str:
        """`sha256:` and the hex digest of the canonical JSON."""
        return digest_of(canonical_json(self.fields).encode())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Manifest) and self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)


def canonical_json(value: Any) -> str:
    """The one JSON text of `value` that is hashed: sorted keys, no spaces, shortest floats."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest_of(content: bytes) -> str:
    """`sha256:` and the hex digest of `content`."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def differences(found: Manifest | Mapping[str, Any], expected: Manifest | Mapping[str, Any]) -> list[Difference]:
    """Every field that `expected` states and `found` has otherwise or lacks, in the order of `expected`."""
    return list(_differences(_fields(found), _fields(expected), ""))


def all_differences(found: Manifest | Mapping[str, Any], expected: Manifest | Mapping[str, Any]) -> list[Difference]:
    """As `differences`, and the fields that only `found` has as well."""
    unasked = [
        Difference(gap.field, gap.expected, ABSENT) for gap in differences(expected, found) if gap.found is ABSENT
    ]
    return differences(found, expected) + unasked


def _fields(value: Manifest | Mapping[str, Any]) -> Mapping[str, Any]:
    return value.fields if isinstance(value, Manifest) else value


def _differences(found: Mapping[str, Any], expected: Mapping[str, Any], prefix: str) -> Iterator[Difference]:
    for key, wanted in expected.items():
        field = f"{prefix}{key}"
        value = found.get(key, ABSENT)
        if isinstance(value, Mapping) and isinstance(wanted, Mapping):
            yield from _differences(value, wanted, f"{field}.")
        elif not _same(value, wanted):
            yield Difference(field, value, wanted)


def _same(left: Any, right: Any) -> bool:
    """Equal as JSON values: tuples are lists, 1 is 1.0, but True is not 1."""
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(_same, left, right))
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


def _check_json(value: Any, field: str) -> None:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise ValueError(f"{field}: found the key {key!r}, expected a string")
            _check_json(inner, f"{field}.{key}")
    elif isinstance(value, list | tuple):
        for position, inner in enumerate(value):
            _check_json(inner, f"{field}[{position}]")
    elif not (value is None or isinstance(value, str | bool | int | float)):
        raise ValueError(f"{field}: found {type(value).__name__} {value!r}, expected a JSON value")
    elif isinstance(value, float) and not -float("inf") < value < float("inf"):
        raise ValueError(f"{field}: found {value!r}, expected a finite number")
