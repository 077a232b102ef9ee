"""The three places of a store that labels over some class names may come from, and when each can answer.

A source that can answer knows its arrays, how their rows become logits over exactly those names, and how far off
these can be; one that cannot says why. Looking for a source reads class lists and metadata, no label.
Letters: B views, C classes asked for, D embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fdbpl.cache_layout.class_list import ClassList
from fdbpl.cache_layout.encodings import EMBEDDING, LOGITS, TOPK, TopK, decode_embedding, decode_logits, decode_topk
from fdbpl.cache_layout.error_bounds import Bound, embedding_bound, logits_bound, topk_bound
from fdbpl.cache_layout.reader import Reader

COLUMNS = "all"
"""The class list that the columns of logits and the numbers of topk stand for, where nothing else is said."""

Rows = npt.NDArray[Any]
Columns = slice | npt.NDArray[np.int64]
Decode = Callable[[Sequence[Rows]], npt.NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class Question:
    """Labels over `class_names`, from a store where the columns of logits and topk are the list `columns`; made with
    `templates`, or with any where None."""

    reader: Reader
    class_names: tuple[str, ...]
    templates: tuple[str, ...] | None
    columns: str

    def lacking(self, classes: ClassList) -> tuple[str, ...]:
        """The names asked for that a list does not hold."""
        held = set(classes.class_names)
        return tuple(name for name in self.class_names if name not in held)


@dataclass(frozen=True, kw_only=True)
class Source:
    """Arrays that answer a question: `decode` takes their rows, in the order of `arrays`, to float32 logits [B, C]."""

    arrays: tuple[str, ...]
    words: str
    bound: Bound
    decode: Decode


@dataclass(frozen=True, kw_only=True)
class Unanswered:
    """Why a source cannot answer, and the names that it lacks where that is the reason."""

    reason: str
    missing: tuple[str, ...] = ()


def from_logits(question: Question) -> Source | Unanswered:
    """`teacher/logits`: any names of the list that its columns stand for. A batch costs a copy of the columns."""
    classes = _columns_list(question, (LOGITS,))
    if isinstance(classes, Unanswered):
        return classes
    if missing := question.lacking(classes):
        return _lacks(LOGITS, classes, missing)
    columns = _columns(classes.class_names, question.class_names)
    count = len(question.class_names)
    part = f"the first {count} of" if isinstance(columns, slice) else f"{count} of"
    return Source(
        arrays=(LOGITS,),
        words=f"{LOGITS}: {part} the {len(classes)} columns of class list {classes.name!r}",
        bound=logits_bound(count),
        decode=FromLogits(columns),
    )


def from_embedding(question: Question) -> Source | Unanswered:
    """`teacher/embedding`: the names of any class list with a text embedding. A batch costs 2 B C D operations."""
    reader = question.reader
    if EMBEDDING not in reader.arrays:
        return _absent(reader, (EMBEDDING,))
    scale = reader.manifest.fields.get("teacher", {}).get("logit_scale")
    if scale is None:
        return Unanswered(reason=f"{EMBEDDING}: the manifest does not state teacher.logit_scale")
    width = reader.arrays[EMBEDDING].row_shape[0]
    refusals: list[Unanswered] = []
    for name in sorted(reader.class_lists, key=lambda name: (name != question.columns, name)):
        classes = reader.class_list(name)
        refusal = _unfit_texts(question, classes, width)
        if refusal is None:
            text_CD = classes.text_embedding_CD[_columns(classes.class_names, question.class_names)]
            norm = float(np.linalg.norm(text_CD.astype(np.float64), axis=1).max())
            return Source(
                arrays=(EMBEDDING,),
                words=f"{EMBEDDING} with the text embedding of class list {name!r}",
                bound=embedding_bound(scale, width, norm),
                decode=FromEmbedding(text_CD * np.float32(scale)),
            )
        refusals.append(refusal)
    return Unanswered(
        reason="; ".join(refusal.reason for refusal in refusals) or f"{EMBEDDING}: the store has no class list",
        missing=min((refusal.missing for refusal in refusals if refusal.missing), key=len, default=()),
    )


def from_topk(question: Question) -> Source | Unanswered:
    """The arrays of topk: all names of the list that their classes are numbered by, in any order. A batch costs
    three small reads and a write of [B, C]."""
    reader, names = question.reader, question.class_names
    classes = _columns_list(question, TOPK)
    if isinstance(classes, Unanswered):
        return classes
    if missing := question.lacking(classes):
        return _lacks(TOPK[0], classes, missing)
    if len(names) < len(classes):
        return Unanswered(
            reason=f"{TOPK[0]}: found {len(names)} of the {len(classes)} names of class list {classes.name!r}, "
            "expected all of them: the classes kept of a view need not include those asked for"
        )
    top_k = reader.arrays[TOPK[0]].row_shape[0]
    spread = "" if top_k == len(names) else "; the mass of the others is spread evenly over them"
    return Source(
        arrays=TOPK,
        words=f"{TOPK[0]}: the {top_k} largest of the {len(names)} classes of list {classes.name!r}{spread}",
        bound=topk_bound(top_k, len(names)),
        decode=FromTopK(len(names), _columns(classes.class_names, names)),
    )


SOURCES: dict[str, Callable[[Question], Source | Unanswered]] = {
    "logits": from_logits,
    "embedding": from_embedding,
    "topk": from_topk,
}
"""By encoding, the preferred first: exact columns before a product, both before spread mass."""


@dataclass(frozen=True)
class FromLogits:
    """Some columns of the stored logits."""

    columns: Columns

    def __call__(self, rows: Sequence[Rows]) -> npt.NDArray[np.float32]:
        return decode_logits(rows[0][:, self.columns])


@dataclass(frozen=True)
class FromEmbedding:
    """The product with the classes' unit text embeddings times the logit scale."""

    scaled_text_CD: npt.NDArray[np.float32]

    def __call__(self, rows: Sequence[Rows]) -> npt.NDArray[np.float32]:
        return decode_embedding(rows[0], self.scaled_text_CD)


@dataclass(frozen=True)
class FromTopK:
    """All columns, those that are not kept with the others' mass; then some of them."""

    num_classes: int
    columns: Columns

    def __call__(self, rows: Sequence[Rows]) -> npt.NDArray[np.float32]:
        return decode_logits(decode_topk(TopK(*rows), self.num_classes)[:, self.columns])


def _columns(stored: Sequence[str], wanted: Sequence[str]) -> Columns:
    """Where the wanted names stand: a slice where they are the first ones, which needs no gather."""
    places = {name: place for place, name in enumerate(stored)}
    columns = np.array([places[name] for name in wanted], dtype=np.int64)
    return slice(0, len(columns)) if np.array_equal(columns, np.arange(len(columns))) else columns


def _columns_list(question: Question, arrays: Sequence[str]) -> ClassList | Unanswered:
    """The class list that arrays' columns stand for, where both are there and made with the templates asked for."""
    reader, name = question.reader, question.columns
    if any(array not in reader.arrays for array in arrays):
        return _absent(reader, arrays)
    if name not in reader.class_lists:
        return Unanswered(reason=f"{arrays[0]}: its columns are those of class list {name!r}, which is not there")
    classes = reader.class_list(name)
    if arrays[0] == LOGITS and (found := reader.arrays[LOGITS].row_shape) != (len(classes),):
        return Unanswered(reason=f"{LOGITS}: found rows of {found}, expected ({len(classes)},) of class list {name!r}")
    return _other_templates(question, arrays[0], classes) or classes


def _unfit_texts(question: Question, classes: ClassList, width: int) -> Unanswered | None:
    """Why a class list's text embedding cannot answer, or None."""
    if missing := question.lacking(classes):
        return _lacks(EMBEDDING, classes, missing)
    if (found := classes.text_embedding_CD.shape[1]) != width:
        return Unanswered(reason=f"{EMBEDDING}: class list {classes.name!r} has width {found}, expected {width}")
    return _other_templates(question, EMBEDDING, classes)


def _other_templates(question: Question, array: str, classes: ClassList) -> Unanswered | None:
    if question.templates is None or classes.templates == question.templates:
        return None
    return Unanswered(
        reason=f"{array}: class list {classes.name!r} was made with other templates: found "
        f"{list(classes.templates)}, expected {list(question.templates)}"
    )


def _lacks(array: str, classes: ClassList, missing: tuple[str, ...]) -> Unanswered:
    shown = ", ".join(map(repr, missing[:5])) + (" …" if len(missing) > 5 else "")
    return Unanswered(
        reason=f"{array}: class list {classes.name!r} lacks {len(missing)} of them: {shown}", missing=missing
    )


def _absent(reader: Reader, arrays: Sequence[str]) -> Unanswered:
    absent = [array for array in arrays if array not in reader.arrays]
    return Unanswered(reason=f"{', '.join(absent)}: not in the store")
