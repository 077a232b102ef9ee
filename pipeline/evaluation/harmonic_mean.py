"""The field's summary of base and new accuracy."""


def harmonic_mean(base: float, new: float) -> float:
    """2 base new / (base + new); 0 where both are."""
    return 0.0 if base + new == 0 else 2 * base * new / (base + new)
