"""A shard's list of members kept beside it, so that it is read from its headers once and not by every process.

`NAME.tar.index` is JSON, and tied to the shard by its size and its time of change: one that does not fit, or cannot be
read, is left aside, and the headers are read. Reading one costs about a second for two million members, where their
headers cost a minute.
"""

import json
import os
from pathlib import Path
from typing import Any

from fdbpl.pipeline.shards.members import Members, ShardError, read_members
from fdbpl.pipeline.whole_file import replace_file

VERSION = 1
Stamp = tuple[int, int]


def stamp_of(facts: os.stat_result) -> Stamp:
    """Size and time of change: what tells whether a shard is still the one that was looked at."""
    return facts.st_size, facts.st_mtime_ns


def index_path(shard: Path) -> Path:
    return shard.with_name(f"{shard.name}.index")


def load_members(shard: Path) -> tuple[Members, Stamp]:
    """The members of a shard, from its index or else from its headers, and its stamp then. Raises ShardError."""
    try:
        stamp = stamp_of(shard.stat())
    except OSError as error:
        raise ShardError(f"the shard {shard} cannot be read: {error.strerror}", shard) from error
    return _from_index(shard, stamp) or read_members(shard), stamp


def write_index(shard: Path) -> Members:
    """Read a shard's headers and keep its list of members beside it.

    Raises:
        ShardError: the shard cannot be read, or is damaged.
        OSError: its folder cannot be written to.
    """
    stamp = stamp_of(shard.stat())
    members = read_members(shard)
    if members.damage:
        raise ShardError(f"{shard}: {members.damage}", shard)
    content = {
        "fdbpl_shard_index": VERSION,
        "stamp": stamp,
        "names": members.names,
        "offsets": members.offsets,
        "sizes": members.sizes,
        "refused": members.refused,
    }
    replace_file(index_path(shard), json.dumps(content, separators=(",", ":")).encode())
    return members


def has_index(shard: Path) -> bool:
    """Whether an index is there that fits the shard."""
    return _from_index(shard, stamp_of(shard.stat())) is not None


def _from_index(shard: Path, stamp: Stamp) -> Members | None:
    try:
        content = json.loads(index_path(shard).read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(content, dict) or content.get("fdbpl_shard_index") != VERSION:
        return None
    return _members(content) if tuple(content["stamp"]) == stamp else None


def _members(content: dict[str, Any]) -> Members:
    return Members(
        names=tuple(content["names"]),
        offsets=tuple(content["offsets"]),
        sizes=tuple(content["sizes"]),
        refused=content["refused"],
    )
