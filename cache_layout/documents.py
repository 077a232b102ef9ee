"""Zarr metadata files: `zarr.json` of groups and plain arrays, and writing them whole.

Every byte of such a file is a function of its values, so that checking one is to make it again and compare.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fdbpl.cache_layout.errors import CacheError
from fdbpl.cache_layout.files import sync_folder, write_file

METADATA = "zarr.json"


def group_document(attributes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The metadata of a Zarr group."""
    return {"attributes": dict(attributes or {}), "zarr_format": 3, "node_type": "group"}


def document_bytes(document: Mapping[str, Any]) -> bytes:
    """The file of a metadata document. Names of files that are no UTF-8 are read back as they were."""
    return json.dumps(document, ensure_ascii=False, allow_nan=False).encode("utf-8", "surrogatepass")


def read_document(folder: Path) -> dict[str, Any]:
    """The metadata of a Zarr node; FileNotFoundError where there is none, CacheError where it is not JSON."""
    path = folder / METADATA
    content = path.read_bytes()
    try:
        document = json.loads(content)
        attributes = document.setdefault("attributes", {})
    except (ValueError, AttributeError) as error:
        raise CacheError(f"{path}: found no JSON object ({error}), expected Zarr metadata: restore the file") from error
    if not isinstance(attributes, dict):
        raise CacheError(f"{path}: found attributes {attributes!r}, expected a JSON object: restore the file")
    return dict(document)


def read_attributes(folder: Path) -> dict[str, Any]:
    """The attributes of a Zarr node; errors as of `read_document`."""
    return dict(read_document(folder)["attributes"])


def put_document(folder: Path, document: Mapping[str, Any]) -> None:
    """Write the metadata of a node that nobody sees yet; it is flushed with the tree around it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / METADATA).write_bytes(document_bytes(document))


def replace_document(folder: Path, document: Mapping[str, Any], staging: Path | None = None) -> None:
    """Write a node's metadata whole; the temporary file lies in `staging`, or in the folder itself."""
    write_file(folder / METADATA, document_bytes(document), staging)


def put_groups_above(root: Path, folder: Path) -> None:
    """Make every folder between `root` and `folder` a Zarr group, in a tree that nobody sees yet."""
    for parent in folder.relative_to(root).parents[:-1]:
        if not (root / parent / METADATA).exists():
            put_document(root / parent, group_document())


def ensure_groups_above(store: Path, folder: Path, staging: Path) -> None:
    """Make every folder between the store and `folder` a Zarr group."""
    for parent in reversed(folder.relative_to(store).parents[:-1]):
        group = store / parent
        group.mkdir(exist_ok=True)
        if not (group / METADATA).exists():
            replace_document(group, group_document(), staging)
            sync_folder(group.parent)
