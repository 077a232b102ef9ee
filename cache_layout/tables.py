"""The image index and the class lists on disk: groups of plain arrays that appear whole and never change.

Images that are added later are a further part, `images/<number>`, with an index of its own. A part's group also lists
the files that were left out when it was made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fdbpl.cache_layout.class_list import ClassList
from fdbpl.cache_layout.documents import METADATA, document_bytes, group_document, put_document, read_attributes
from fdbpl.cache_layout.errors import CacheError, DamagedFile, UnknownArray
from fdbpl.cache_layout.flat_array import flat_files, put_flat, read_flat
from fdbpl.cache_layout.images import ImageIndex, decode_paths

IMAGES, CLASSES = "fdbpl_images", "fdbpl_classes"
Files = Iterator[tuple[str, bytes]]


@dataclass(frozen=True, kw_only=True)
class ImagePart:
    """What the group of a part of the images says of it."""

    count: int
    digest: str


def image_tables(images: ImageIndex) -> dict[str, npt.NDArray[Any]]:
    """The arrays of an image index by name."""
    path_bytes, path_offsets = images.path_bytes
    return {
        "path_bytes": path_bytes,
        "path_offsets": path_offsets,
        "size": images.sizes_N2,
        "digest": images.digests_N32,
        "label": images.labels_N,
    }


def image_document(images: ImageIndex) -> dict[str, Any]:
    fields: dict[str, Any] = {"count": len(images), "digest": images.digest}
    if images.excluded:
        fields["excluded"] = [list(pair) for pair in images.excluded]
    return group_document({IMAGES: fields})


def put_images(folder: Path, images: ImageIndex) -> None:
    """Write one part of the image index into a tree that nobody sees yet."""
    put_document(folder, image_document(images))
    for name, values in image_tables(images).items():
        put_flat(folder / name, values)


def image_files(folder: str, images: ImageIndex) -> Files:
    """Every file of a part by its path, as it was written."""
    yield f"{folder}/{METADATA}", document_bytes(image_document(images))
    for name, values in image_tables(images).items():
        yield from ((f"{folder}/{name}/{file}", content) for file, content in flat_files(values).items())


def read_image_part(store: Path, number: int) -> ImagePart | None:
    """Count and digest of a part; None where the store has no such part."""
    try:
        fields = read_attributes(store / "images" / str(number)).get(IMAGES, {})
        return ImagePart(count=fields["count"], digest=fields["digest"])
    except FileNotFoundError:
        return None
    except (KeyError, TypeError, AttributeError) as error:
        raise DamagedFile(str(store), [f"images/{number}/{METADATA}: found no count and digest"]) from error


def read_images(store: Path, folder: str, digest: str) -> ImageIndex:
    """Read one part of the image index and check that it has `digest`."""
    tables: dict[str, npt.NDArray[Any]] = {}
    try:
        for name in ("path_bytes", "path_offsets", "size", "digest", "label"):
            tables[name] = read_flat(store / folder / name)
        images = ImageIndex(
            paths=decode_paths(tables["path_bytes"], tables["path_offsets"]),
            sizes_N2=tables["size"],
            digests_N32=tables["digest"],
            labels_N=tables["label"],
            excluded=_excluded_of(store / folder),
        )
    except (ValueError, TypeError, AttributeError, CacheError) as error:
        raise DamagedFile(str(store), [f"{folder}: {error}"]) from error
    if images.digest != digest:
        raise DamagedFile(str(store), [f"{folder}: found digest {images.digest}, expected {digest}"])
    return images


def read_excluded(store: Path, number: int) -> tuple[tuple[str, str], ...]:
    """The (path, reason) of a part's excluded files, not compared with its digest. DamagedFile where it is no list."""
    try:
        return _excluded_of(store / "images" / str(number))
    except (ValueError, TypeError, AttributeError) as error:
        raise DamagedFile(str(store), [f"images/{number}/{METADATA}: found no list of excluded files"]) from error


def _excluded_of(folder: Path) -> tuple[tuple[str, str], ...]:
    try:
        fields = read_attributes(folder).get(IMAGES, {})
    except FileNotFoundError:
        return ()
    return tuple((str(path), str(reason)) for path, reason in fields.get("excluded", ()))


def join_images(parts: Sequence[ImageIndex]) -> ImageIndex:
    """All parts as one index, in order."""
    if len(parts) == 1:
        return parts[0]
    return ImageIndex(
        paths=reduce(lambda left, right: left + right, (part.paths for part in parts)),
        sizes_N2=np.concatenate([part.sizes_N2 for part in parts]),
        digests_N32=np.concatenate([part.digests_N32 for part in parts]),
        labels_N=np.concatenate([part.labels_N for part in parts]),
        excluded=tuple(pair for part in parts for pair in part.excluded),
    )


def class_document(classes: ClassList) -> dict[str, Any]:
    attributes = {
        "class_names": list(classes.class_names),
        "templates": list(classes.templates),
        "digest": classes.digest,
        "embedding_digest": classes.embedding_digest,
    }
    return group_document({CLASSES: attributes})


def put_class_list(folder: Path, classes: ClassList) -> None:
    """Write a class list into a tree that nobody sees yet."""
    put_document(folder, class_document(classes))
    put_flat(folder / "text_embedding", classes.text_embedding_CD)


def class_files(folder: str, classes: ClassList) -> Files:
    """Every file of a class list by its path, as it was written."""
    yield f"{folder}/{METADATA}", document_bytes(class_document(classes))
    for file, content in flat_files(classes.text_embedding_CD).items():
        yield f"{folder}/text_embedding/{file}", content


def class_list_names(store: Path) -> tuple[str, ...]:
    """The store's class lists, sorted."""
    return tuple(sorted(found.parent.name for found in (store / "classes").glob(f"[!.]*/{METADATA}")))


def read_class_list(store: Path, name: str) -> ClassList:
    """Read a class list and check its two digests."""
    known = class_list_names(store)
    if name not in known:
        raise UnknownArray(str(store), "class list", name, known)
    folder = store / "classes" / name
    try:
        fields: Mapping[str, Any] = read_attributes(folder)[CLASSES]
        classes = ClassList(
            name=name,
            class_names=tuple(fields["class_names"]),
            templates=tuple(fields["templates"]),
            text_embedding_CD=read_flat(folder / "text_embedding"),
        )
        stated = {kind: fields[kind] for kind in ("digest", "embedding_digest")}
    except (ValueError, KeyError, TypeError, CacheError) as error:
        raise DamagedFile(str(store), [f"classes/{name}: {error}"]) from error
    for kind, expected in stated.items():
        if getattr(classes, kind) != expected:
            found = getattr(classes, kind)
            raise DamagedFile(str(store), [f"classes/{name}: found {kind} {found}, expected {expected}"])
    return classes
