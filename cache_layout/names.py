"""Names of arrays, campaigns and class lists: path segments that every file system and Zarr reader takes."""

from __future__ import annotations

import re

_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=@-]*")


def check_name(name: str, kind: str, *, max_depth: int = 8) -> None:
    """ValueError unless `name` is 1 to `max_depth` segments, joined by `/`, that are safe as file names."""
    segments = name.split("/")
    if len(segments) > max_depth or not all(_SEGMENT.fullmatch(segment) for segment in segments):
        joined = "" if max_depth == 1 else ", joined by /"
        raise ValueError(
            f"{kind} name: found {name!r}, expected letters, digits and ._+=@- after a first letter{joined}"
        )
