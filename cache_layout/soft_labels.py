"""Labels over the class names that a student asks for, from whatever encoding the store holds, or a refusal.

A student states names and gets logits over exactly these names in this order; which arrays they come from, and how
far off they can be, is said in words and numbers, and never silently otherwise.
Letters: B views, C classes asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fdbpl.cache_layout.class_list import ClassList
from fdbpl.cache_layout.error_bounds import Bound
from fdbpl.cache_layout.errors import CacheError
from fdbpl.cache_layout.label_sources import COLUMNS, SOURCES, Decode, Question, Rows, Source
from fdbpl.cache_layout.reader import Reader


class NoSuchLabels(CacheError):
    """The store at `path` has no labels over the `count` names asked for: `reasons` says of each place why it cannot
    answer, `missing` are the names that the nearest class list lacks, `held` says what the store has."""

    def __init__(self, path: str, count: int, missing: Sequence[str], reasons: Sequence[str], held: str) -> None:
        super().__init__(path, count, tuple(missing), tuple(reasons), held)
        self.path = path
        self.count = count
        self.missing = tuple(missing)
        self.reasons = tuple(reasons)
        self.held = held

    def __str__(self) -> str:
        lines = [f"the store at {self.path} has no labels over the {self.count} classes asked for:"]
        lines += [f"  {reason}" for reason in self.reasons]
        lines += [f"  it holds {self.held}"]
        lines.append(
            "ask for names of one of its class lists, made with its templates (all of them where it holds topk alone), "
            "or make another store for these: another store.path, then `fdbpl teach CONFIG`"
        )
        return "\n".join(lines)


@dataclass(frozen=True, kw_only=True, eq=False)
class SoftLabels:
    """Labels over `num_classes` names; made by `soft_labels`. Picklable: it holds the reader and small arrays.

    Args:
        source: which arrays answer, and why those, in words.
        bound: how far off their probabilities can be.
    """

    reader: Reader
    num_classes: int
    source: str
    bound: Bound
    arrays: tuple[str, ...]
    decode: Decode

    def read(self, images_B: npt.ArrayLike, seeds_B: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Logits of B views.

        One read of each array (topk has three), then a copy of the columns, a float32 product of [B, D] and [D, C]
        for embeddings, or a write of [B, C] for topk.

        Args:
            images_B: integers, image numbers.
            seeds_B: integers, crop seeds.

        Returns:
            float32 [B, C], contiguous: softmax over a row gives the probabilities over the names.

        Raises:
            ValueError, CacheError: as `Reader.read`.
        """
        return self.decode(self.read_rows(images_B, seeds_B))

    def read_rows(self, images_B: npt.ArrayLike, seeds_B: npt.ArrayLike) -> list[Rows]:
        """What is stored of B views, an array [B, ...] for each of `arrays`: what `decode` takes. Errors as `read`."""
        return [self.reader.read(array, images_B, seeds_B) for array in self.arrays]


def soft_labels(
    reader: Reader,
    class_names: Sequence[str],
    *,
    templates: Sequence[str] | None = None,
    source: str | None = None,
    columns: str = COLUMNS,
) -> SoftLabels:
    """Labels over exactly these names in this order, from the first of logits, embedding and topk that can answer.

    Args:
        reader: of the store; no label is read here.
        class_names: C different names.
        templates: prompts that the labels must have been made with; any where None.
        source: the only encoding to take: `logits`, `embedding` or `topk`.
        columns: the class list that the columns of logits and topk stand for.

    Raises:
        ValueError: no name, a name twice, an unknown source.
        NoSuchLabels: nothing in the store can answer, with each reason.
    """
    names = _checked(class_names)
    if source is not None and source not in SOURCES:
        raise ValueError(f"source: found {source!r}, expected one of {', '.join(SOURCES)}")
    question = Question(
        reader=reader,
        class_names=names,
        templates=None if templates is None else tuple(templates),
        columns=columns,
    )
    reasons: list[str] = []
    lacking: list[tuple[str, ...]] = []
    for encoding in SOURCES if source is None else (source,):
        found = SOURCES[encoding](question)
        if isinstance(found, Source):
            return SoftLabels(
                reader=reader,
                num_classes=len(names),
                source="; not ".join([found.words, *reasons]),
                bound=found.bound,
                arrays=found.arrays,
                decode=found.decode,
            )
        reasons.append(found.reason)
        lacking += [found.missing] if found.missing else []
    raise NoSuchLabels(str(reader.path), len(names), min(lacking, key=len, default=()), reasons, _held(reader))


def _checked(class_names: Sequence[str]) -> tuple[str, ...]:
    names = tuple(class_names)
    twice = [name for name, count in Counter(names).items() if count > 1]
    if not names:
        raise ValueError("class_names: found none, expected at least one")
    if twice:
        raise ValueError(f"class_names: found {twice} more than once, expected each name once")
    return names


def _held(reader: Reader) -> str:
    arrays = [name for name in reader.arrays if name.startswith("teacher/")]
    lists = [_described(reader.class_list(name)) for name in reader.class_lists]
    return f"{', '.join(arrays) or 'no labels'}; class lists: {', '.join(lists) or 'none'}"


def _described(classes: ClassList) -> str:
    more = " …" if len(classes) > 3 else ""
    return f"{classes.name!r} ({len(classes)}: {', '.join(map(repr, classes.class_names[:3]))}{more})"
