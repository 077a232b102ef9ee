"""The two ways in which 32 of the 64 pairs of a colour and a shape become 16 base classes and 16 new ones.

*latin*: both halves use every word, each colour and each shape twice: a new class is a new pair of known words.
*grid*: four colours by four shapes are the base, the other four by the other four the new half: no word is shared.

A colour's complement is what its negative shows. In either split half of the classes of a half have a class beside
them that differs by the complement alone, so that only the style tells the two apart; the others have not.
"""

from fdbpl.pipeline.datasets.synthetic import COLORS, SHAPES

Pair = tuple[str, str]

# Colour minus shape, modulo eight, for shapes at even and odd places, of the base and of the new classes. Each half
# uses every word twice. An offset of four is the complement: such a pair of classes is told apart by the style
# alone (half of the shapes, and other colours in the new half than in the base half).
_LATIN_OFFSETS = (((0, 4), (0, 2)), ((1, 5), (1, 3)))
# Two of the four are each other's complement; the complements of the other two are in the other half.
_GRID_COLORS = (("red", "yellow", "green", "cyan"), ("white", "blue", "magenta", "black"))
_GRID_SHAPES = (SHAPES[:4], SHAPES[4:])


def _latin_pairs() -> tuple[Pair, ...]:
    return tuple(
        (COLORS[(shape + offset) % len(COLORS)], SHAPES[shape])
        for half in _LATIN_OFFSETS
        for shape in range(len(SHAPES))
        for offset in half[shape % 2]
    )


def _grid_pairs() -> tuple[Pair, ...]:
    return tuple(
        (color, shape)
        for colors, shapes in zip(_GRID_COLORS, _GRID_SHAPES, strict=True)
        for shape in shapes
        for color in colors
    )


# (colour, shape) of the 16 base classes, then of the 16 new ones.
SPLITS: dict[str, tuple[Pair, ...]] = {"latin": _latin_pairs(), "grid": _grid_pairs()}


def class_name(pair: Pair) -> str:
    return " ".join(pair)
