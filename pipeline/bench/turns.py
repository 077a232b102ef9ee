"""Measuring several ways of doing one thing side by side: in turns, so that the machine's moods hit all alike."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median

OnProgress = Callable[[int, int], None]


@dataclass(kw_only=True)
class Rates:
    """Units a second of each way, round by round."""

    rounds: dict[str, list[float]] = field(default_factory=dict)

    def rate(self, name: str) -> float:
        """The median over the rounds."""
        return median(self.rounds[name])

    def ratio(self, name: str, to: str) -> float:
        """The median of the ratios within each round."""
        return median(mine / other for mine, other in zip(self.rounds[name], self.rounds[to], strict=True))


def take_turns(
    ways: Mapping[str, Callable[[], int]],
    *,
    seconds: float,
    num_rounds: int,
    on_progress: OnProgress,
    before: Mapping[str, Callable[[], object]] | None = None,
    after: Mapping[str, Callable[[], object]] | None = None,
    is_warm: bool = False,
) -> Rates:
    """Run each way for so long in every round, after one call that is not counted, unless all are warm already.

    Args:
        ways: name -> does some work and gives the units done.
        seconds: of a way in a round; at least one call.
        before, after: name -> called before and after a way's turn, not counted.
    """
    before, after = before or {}, after or {}
    for name, work in () if is_warm else ways.items():
        work()
        after.get(name, _nothing)()
    rates = Rates(rounds={name: [] for name in ways})
    done = 0
    for _ in range(num_rounds):
        for name, work in ways.items():
            before.get(name, _nothing)()
            units, started = 0, time.perf_counter()
            while not units or time.perf_counter() - started < seconds:
                units += work()
            rates.rounds[name].append(units / (time.perf_counter() - started))
            after.get(name, _nothing)()
            done += 1
            on_progress(done, num_rounds * len(ways))
    return rates


def _nothing() -> None:
    pass
