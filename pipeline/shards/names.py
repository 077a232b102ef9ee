"""Which tar files a pattern of shards means: `train-{000000..000099}.tar`, `shards/*.tar`, or one name.

Braces name shards, in their order, and each must be there; `*`, `?` and `[...]` find what is there, sorted. A part of
the path that exists as it is written is taken so, whatever characters it has. Costs one listing of a folder.
"""

import fnmatch
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from fdbpl.pipeline.shards.members import COMPRESSED, NO_RANDOM_ACCESS, ShardError

_PATTERN = re.compile(r"[*?[{]")
_FIND = re.compile(r"[*?[]")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_NUM_SHOWN = 5


def find_shards(pattern: Path) -> list[Path]:
    """The shards of a pattern, at least one.

    Raises:
        ShardError: none, one that braces name and that is not there, or names of compressed files.
    """
    if COMPRESSED.search(pattern.name):
        raise ShardError(f"{pattern}: {NO_RANDOM_ACCESS}", pattern)
    places = [Path(pattern.anchor)]
    for part in pattern.parts[1 if pattern.anchor else 0 :]:
        places = [found for place in places for found in _in_folder(place, part)]
    if not places:
        raise ShardError(f"found no shard {pattern}, expected at least one", pattern)
    return places


def _in_folder(folder: Path, part: str) -> list[Path]:
    if (folder / part).exists():
        return [folder / part]
    if not _PATTERN.search(part):
        kind = "shard" if part.endswith(".tar") else "folder"
        raise ShardError(f"there is no {kind} {folder / part}", folder / part)
    try:
        there = sorted(path.name for path in folder.iterdir())
    except OSError as error:
        raise ShardError(f"{folder} is no folder with shards: {error.strerror}", folder) from error
    # Each once, whatever the pattern says.
    names = list(dict.fromkeys(name for wanted in braces(part) for name in _matching(wanted, there)))
    missing = sorted(set(names) - set(there))
    if missing:
        shown = ", ".join(missing[:_NUM_SHOWN]) + (" …" if len(missing) > _NUM_SHOWN else "")
        raise ShardError(
            f"found {len(names) - len(missing)} of {len(names)} shards {folder / part}, missing {shown}: bring them, "
            "or name those that are there",
            folder / part,
        )
    return [folder / name for name in names]


def _matching(wanted: str, there: Sequence[str]) -> list[str]:
    if not _FIND.search(wanted):
        return [wanted]
    return [name for name in fnmatch.filter(there, wanted) if not name.startswith(".") or wanted.startswith(".")]


def braces(text: str) -> Iterator[str]:
    """What a name with `{a,b}` and `{000..123}` stands for, as in a shell; braces may be nested."""
    start = text.find("{")
    stop = _closing(text, start)
    if stop is None:
        yield text
        return
    numbers = _RANGE.fullmatch(text[start + 1 : stop])
    inner = _numbers(numbers[1], numbers[2]) if numbers else _alternatives(text[start + 1 : stop])
    for one in inner:
        for rest in braces(text[stop + 1 :]):
            yield text[:start] + one + rest


def _closing(text: str, start: int) -> int | None:
    """Where the brace that opens at `start` is closed; None where it is not, or where none opens."""
    depth = 0
    for place in range(start, len(text) if start >= 0 else start):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return place
    return None


def _alternatives(inner: str) -> Iterator[str]:
    depth, begin = 0, 0
    for place, character in enumerate(f"{inner},"):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if character == "," and depth == 0:
            yield from braces(inner[begin:place])
            begin = place + 1


def _numbers(first: str, last: str) -> list[str]:
    """As wide as the wider one where one of them begins with a zero."""
    is_padded = any(len(number) > 1 and number.startswith("0") for number in (first, last))
    width = max(len(first), len(last)) if is_padded else 0
    step = 1 if int(first) <= int(last) else -1
    return [f"{number:0{width}d}" for number in range(int(first), int(last) + step, step)]
