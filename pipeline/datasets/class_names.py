"""Reads classnames.txt, which gives ImageNet's folders their names: a folder and its class name on each line.

Names are kept as written, with one exception. The usual file, which comes from CLIP, calls two pairs of classes by one
name each; a prompt cannot tell such a pair apart, so the second of each pair gets WordNet's own name (`_TWINS`).
"""

from collections import Counter
from pathlib import Path

# (folder, the name that another folder has as well) -> its name here.
_TWINS = {("n04008634", "missile"): "projectile", ("n04355933", "sunglasses"): "sunglass"}


def read_class_names(path: Path) -> dict[str, str]:
    """Folder -> class name, in the order of the lines; empty lines count for nothing.

    Raises:
        ValueError: no such file, a line without a name, a folder twice, a name twice.
    """
    names: dict[str, str] = {}
    for number, line in enumerate(read_lines(path), 1):
        folder, _, name = line.partition(" ")
        if not line:
            continue
        if not name.strip():
            raise ValueError(f"{path}, line {number}: found {line!r}, expected a folder and its class name")
        if folder in names:
            raise ValueError(f"{path}, line {number}: found the folder {folder} for the second time, expected it once")
        names[folder] = name.strip()
    counts = Counter(names.values())
    named = {folder: _TWINS.get((folder, name), name) if counts[name] > 1 else name for folder, name in names.items()}
    twice = {
        name: [f for f in named if named[f] == name] for name, count in Counter(named.values()).items() if count > 1
    }
    if twice:
        listed = "; ".join(f"{name!r} for {' and '.join(folders)}" for name, folders in list(twice.items())[:10])
        raise ValueError(
            f"{path}: found one name for several classes ({listed}), expected different ones: a prompt could not tell "
            "them apart, so give one of them another name there"
        )
    return named


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, without what is blank at their ends. Raises ValueError where it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not in UTF-8: {error}") from error
    return [line.strip() for line in text.splitlines()]
