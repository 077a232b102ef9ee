"""What one run of the benchmark measures: checked when it is made, and written into its results."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from fdbpl.pipeline.bench.data import Data

PATTERNS = ("random", "plane")
STATES = ("warm", "cold")


@dataclass(frozen=True, kw_only=True)
class BenchParameters:
    """One run of `fdbpl bench cache`.

    Args:
        data: the rows.
        readers: names of peers, in the order in which they are shown.
        patterns: `random`: batches of random views; `plane`: all images of one seed.
        states: `warm`: files in memory; `cold`: evicted before each slice.
        processes: how many read at once, one measurement for each number.
        batch: views of a batch of the random pattern.
        seconds: for one reader in one measurement, all rounds together.
        rounds: readers take turns, a slice of `seconds / rounds` each, so many times.
    """

    data: Data
    readers: tuple[str, ...]
    patterns: tuple[str, ...] = PATTERNS
    states: tuple[str, ...] = STATES
    processes: tuple[int, ...] = (1, 2, 4, 8)
    batch: int = 256
    seconds: float = 2.0
    rounds: int = 5

    def __post_init__(self) -> None:
        _choose("patterns", self.patterns, PATTERNS)
        _choose("states", self.states, STATES)
        if len(set(self.readers)) != len(self.readers) or not self.readers:
            raise ValueError(f"readers: found {', '.join(self.readers) or 'none'}, expected each once")
        if not self.processes or len(set(self.processes)) != len(self.processes) or min(self.processes) < 1:
            raise ValueError(f"processes: found {self.processes}, expected different positive numbers, such as 1,2,4")
        for name in ("batch", "rounds", "seconds"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: found {getattr(self, name)}, expected a positive number")

    def to_json(self) -> dict[str, Any]:
        """Flat, under the names of the command's options."""
        values = asdict(self)
        flat: dict[str, Any] = {**values.pop("data"), **values}
        return {key.removeprefix("num_"): list(v) if isinstance(v, tuple) else v for key, v in flat.items()}


def _choose(name: str, found: tuple[str, ...], known: tuple[str, ...]) -> None:
    if not found or not set(found) <= set(known) or len(set(found)) != len(found):
        raise ValueError(f"{name}: found {', '.join(found) or 'none'}, expected some of {', '.join(known)}")
