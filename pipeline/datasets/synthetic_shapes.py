"""Eight outlines as signed distances: what the objects of a scene are drawn from.

A shape is a function of coordinates (u, v) in units of its radius, v pointing down: negative inside, zero on
the outline, within the unit circle. The value is the distance near the outline, which is all that a smooth
edge of one pixel needs. Costs a few vector operations on the object's own square.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]

_STAR_INNER = 0.45
_STAR_EDGE = math.hypot(_STAR_INNER * math.cos(math.pi / 5) - 1, _STAR_INNER * math.sin(math.pi / 5))


def _radius(u: Plane, v: Plane) -> Plane:
    radius: Plane = np.hypot(u, v)
    return radius


def _circle(u: Plane, v: Plane) -> Plane:
    distance: Plane = _radius(u, v) - np.float32(0.92)
    return distance


def _ring(u: Plane, v: Plane) -> Plane:
    distance: Plane = np.abs(_radius(u, v) - np.float32(0.7)) - np.float32(0.24)
    return distance


def _moon(u: Plane, v: Plane) -> Plane:
    bitten = np.float32(0.78) - _radius(u - np.float32(0.5), v)
    distance: Plane = np.maximum(_radius(u, v) - np.float32(0.95), bitten)
    return distance


def _square(u: Plane, v: Plane) -> Plane:
    distance: Plane = np.maximum(np.abs(u), np.abs(v)) - np.float32(0.68)
    return distance


def _triangle(u: Plane, v: Plane) -> Plane:
    """Three equal sides, standing on one; the two flanks are one plane by symmetry."""
    flank = np.float32(math.sqrt(3) / 2) * np.abs(u) - np.float32(0.5) * v
    distance: Plane = np.maximum(flank, v) - np.float32(0.475)
    return distance


def _cross(u: Plane, v: Plane) -> Plane:
    a, b = np.abs(u), np.abs(v)
    long, short = np.maximum(a, b), np.minimum(a, b)
    distance: Plane = np.maximum(long - np.float32(0.92), short - np.float32(0.3))
    return distance


def _star(u: Plane, v: Plane) -> Plane:
    """Five points: the angle is folded into one half-point, whose edge is a straight line."""
    radius = _radius(u, v)
    angle = np.arctan2(u, -v) % np.float32(2 * math.pi / 5)
    folded = np.minimum(angle, np.float32(2 * math.pi / 5) - angle)
    across = np.float32(_STAR_INNER * math.sin(math.pi / 5)) * (radius * np.cos(folded) - 1)
    along = np.float32(_STAR_INNER * math.cos(math.pi / 5) - 1) * radius * np.sin(folded)
    distance: Plane = (across - along) / np.float32(_STAR_EDGE)
    return distance


def _heart(u: Plane, v: Plane) -> Plane:
    """A square on its corner with a disc on each upper side."""
    half, down = np.float32(0.5), v - np.float32(0.18)
    square = (np.abs(u) + np.abs(down)) / np.float32(math.sqrt(2)) - half
    reach = np.float32(0.5 / math.sqrt(2))
    discs = _radius(np.abs(u) - reach, down + reach) - half
    distance: Plane = np.minimum(square, discs)
    return distance


SIGNED_DISTANCES: dict[str, Callable[[Plane, Plane], Plane]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "cross": _cross,
    "ring": _ring,
    "heart": _heart,
    "moon": _moon,
}
