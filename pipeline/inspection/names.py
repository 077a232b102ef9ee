"""Finding what a person names (an image, a class, a student), and saying what is near where there is no such thing."""

from collections.abc import Sequence
from difflib import get_close_matches

import numpy as np

_NUM_NEAR = 5
# Nearness is looked for among so many at most: comparing takes tens of microseconds for each.
_MOST_COMPARED = 20_000


def find_image(paths: Sequence[str], asked: str) -> int:
    """The number of the image with this path, else of the only one whose path has this part.

    Raises:
        ValueError: no image, or several; the nearest are named, or the first of those that fit.
    """
    fitting = [number for number, path in enumerate(paths) if asked in path]
    exact = [number for number in fitting if paths[number] == asked]
    if exact or len(fitting) == 1:
        return (exact or fitting)[0]
    if fitting:
        first = ", ".join(paths[number] for number in fitting[:_NUM_NEAR]) + (", …" if len(fitting) > _NUM_NEAR else "")
        raise ValueError(
            f"image: found {len(fitting)} whose path has {asked!r} ({first}), expected one: give more of its path"
        )
    raise unknown("image", asked, paths, "a path as in the store, or a part of just one")


def find_class(class_names: Sequence[str], asked: str) -> int:
    """The number of the class of this name; capitals and underscores may differ where that leaves one.

    Raises:
        ValueError: no class, or several; the nearest are named.
    """
    if asked in class_names:
        return list(class_names).index(asked)
    fitting = [number for number, name in enumerate(class_names) if _plain(name) == _plain(asked)]
    if len(fitting) != 1:
        raise unknown("class", asked, class_names, "a class of the data set")
    return fitting[0]


def drawn_image(images_M: np.ndarray, seed: int) -> int:
    """One of these images, by a seed."""
    return int(np.random.default_rng(seed).choice(images_M))


def unknown(kind: str, asked: str, known: Sequence[str], expected: str = "") -> ValueError:
    """The error for a name that is not there: with the nearest ones, or all where they are few."""
    near = get_close_matches(asked, known[:_MOST_COMPARED], n=_NUM_NEAR, cutoff=0.5)
    shown = [*near, *(name for name in known if name not in near)] if len(known) <= _NUM_NEAR else near
    listed = f" (did you mean {', '.join(shown)}?)" if near else f" ({', '.join(shown)})" if shown else ""
    return ValueError(
        f"{kind}: found {asked!r}, expected {expected or 'one of those there are'}{listed}"
        + ("" if shown else f": there are {len(known)}, such as {', '.join(known[:3])}")
    )


def _plain(name: str) -> str:
    return name.replace("_", " ").casefold()
