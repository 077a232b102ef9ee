"""Which images and which classes a protocol trains on: K of each class, and the halves base and new.

The rule is the public one of CoOp and what came after it, so that a seed means the same images here as
there: Python's generator seeded once, and for each class, in the order in which classes first appear, a
sample of K of its images. The generator is a local one: it draws the same numbers, and nothing else can
disturb it. The draw depends on the order of the list, so give it in a sorted or recorded order, never in
the order of a directory. Sampling comes before any choice of classes.
"""

import random
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def few_shot(labels: Sequence[int], shots: int, seed: int) -> NDArray[np.int64]:
    """Choose `shots` images of each class.

    Args:
        labels: The class of each image, in a reproducible order.
        shots: How many images of each class, at least 1.
        seed: The seed of the subset; equal seeds choose equal images.

    Returns:
        Positions in `labels`, int64 [classes * shots]: class after class in order of first appearance,
        each in the order of its draw.

    Raises:
        ValueError: A class has fewer images (the public code takes what there is, or repeats; this one
        says so).
    """
    if shots < 1:
        raise ValueError(f"shots must be at least 1; found {shots}")
    positions: dict[int, list[int]] = {}
    for position, label in enumerate(labels):
        positions.setdefault(int(label), []).append(position)
    too_few = {label: len(found) for label, found in positions.items() if len(found) < shots}
    if too_few:
        listed = ", ".join(f"class {label} has {found}" for label, found in sorted(too_few.items())[:10])
        raise ValueError(
            f"{shots} shots need {shots} images of each class; {len(too_few)} classes have fewer: {listed}; "
            f"set shots to {min(too_few.values())} at most, or to 0 for all images"
        )
    generator = random.Random(seed)
    chosen = [position for found in positions.values() for position in generator.sample(found, shots)]
    return np.array(chosen, dtype=np.int64)


def base_and_new(num_classes: int) -> tuple[range, range]:
    """Halve the classes in order of their labels: base is the first half, and has the odd one.

    Raises:
        ValueError: Fewer than 2 classes, so that a half would be empty.
    """
    if num_classes < 2:
        raise ValueError(f"base and new need at least 2 classes; found {num_classes}")
    num_base = (num_classes + 1) // 2
    return range(num_base), range(num_base, num_classes)
