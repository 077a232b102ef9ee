"""Class names as data sets have them, for benches: most of one word, others of two."""

_THINGS = (
    *(
        "airplane",
        "anchor",
        "ant",
        "backpack",
        "balloon",
        "banana",
        "barn",
        "basket",
        "bear",
        "bicycle",
        "boat",
        "book",
    ),
    *("bottle", "bridge", "bus", "butterfly", "cactus", "camel", "camera", "candle", "canoe", "castle", "cat", "chair"),
    *("clock", "coat", "computer", "cow", "crab", "cup", "deer", "desk", "dog", "dolphin", "door", "duck", "eagle"),
    *("elephant", "fan", "fence", "flag", "flower", "fork", "fox", "frog", "garden", "giraffe", "glove", "goat"),
    *("guitar", "hammer", "hat", "helicopter", "horse", "house", "kettle", "kitchen", "lamp", "leaf", "lion", "lizard"),
)
_KINDS = (
    *("red", "blue", "small", "old", "wooden", "plastic", "metal", "garden", "toy", "wild", "young", "broken", "white"),
    *("black", "green", "yellow", "large", "tall", "round", "striped"),
)


def class_words(count: int) -> list[str]:
    """So many names, all different, the same each time.

    Raises:
        ValueError: more than there are.
    """
    names = [*_THINGS, *(f"{kind} {thing}" for kind in _KINDS for thing in _THINGS)]
    if not 2 <= count <= len(names):
        raise ValueError(f"found {count} classes, expected 2 to {len(names)}")
    return names[:count]
