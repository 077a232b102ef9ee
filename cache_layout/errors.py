"""What can be wrong with a store: one class for each kind of fault, all of them `CacheError`.

Every error carries what it names as plain values (its `args`), so that it survives pickling between
processes, and builds its message from them: found, expected, where, what to do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fdbpl.cache_layout.manifest import Difference

MEND = "`fdbpl cache verify STORE` finds all that is damaged, `fdbpl cache repair STORE` lets it be computed again"
FINISH = "to compute what is missing, run again what writes it: `fdbpl teach CONFIG` or `fdbpl features CONFIG`"


class CacheError(Exception):
    """The data of a store are not what they should be."""


class ManifestMismatch(CacheError):
    """The store at `path` was made with other settings than expected; `differences` lists every field."""

    def __init__(self, path: str, differences: Sequence[Difference]) -> None:
        super().__init__(path, tuple(differences))
        self.path = path
        self.differences = tuple(differences)

    def __str__(self) -> str:
        count = len(self.differences)
        noun = "field differs" if count == 1 else "fields differ"
        return _listed(
            f"the store at {self.path} does not fit: {count} {noun}",
            [str(difference) for difference in self.differences],
            "use the settings that the store was made with, or another store path for the new ones",
        )


class UnsealedStore(CacheError):
    """Campaigns of the store at `path` have no seal; `missing` maps each to its missing blocks' ids."""

    def __init__(self, path: str, missing: Mapping[str, Sequence[str]]) -> None:
        self.missing = {campaign: tuple(ids) for campaign, ids in missing.items()}
        self.path = path
        super().__init__(path, self.missing)

    def __str__(self) -> str:
        lines = [
            f"campaign {campaign}: missing blocks {_first(ids)}"
            if ids
            else f"campaign {campaign}: every block is written, the seal is missing"
            for campaign, ids in self.missing.items()
        ]
        return _listed(f"the store at {self.path} is not sealed", lines, FINISH)


class MissingBlocks(CacheError):
    """Files or chunks of the store at `path` are not there; `missing` names each."""

    def __init__(self, path: str, missing: Sequence[str]) -> None:
        super().__init__(path, tuple(missing))
        self.path = path
        self.missing = tuple(missing)

    def __str__(self) -> str:
        return _listed(f"the store at {self.path} is incomplete", self.missing, FINISH)


class DamagedFile(CacheError):
    """Files of the store at `path` are not as recorded; `problems` names each with what is wrong."""

    def __init__(self, path: str, problems: Sequence[str]) -> None:
        super().__init__(path, tuple(problems))
        self.path = path
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return _listed(f"the store at {self.path} is damaged", self.problems, MEND)


class NotFinite(CacheError):
    """Values handed to the writer hold NaN or infinity."""


class UnknownArray(CacheError):
    """The store has no array, campaign or class list `name`; `known` are those it has."""

    def __init__(self, path: str, kind: str, name: str, known: Sequence[str]) -> None:
        super().__init__(path, kind, name, tuple(known))
        self.path = path
        self.kind = kind
        self.name = name
        self.known = tuple(known)

    def __str__(self) -> str:
        known = ", ".join(self.known) or "none"
        return f"no {self.kind} {self.name!r} in the store at {self.path}; it has: {known}"


class ViewOutOfRange(CacheError):
    """A view's image or seed lies outside the store."""


def _listed(head: str, lines: Sequence[str], advice: str) -> str:
    return "\n".join([f"{head}:", *(f"  {line}" for line in lines), advice])


def _first(names: Sequence[str], limit: int = 10) -> str:
    rest = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + rest
