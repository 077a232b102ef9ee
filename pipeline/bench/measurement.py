"""What was measured of one reader in one situation, and how readers compare.

A rate is the median over rounds of the sum over processes. Ratios are taken within each round, where both
readers met the same machine, and then the median: a drift of the machine's speed hits both alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from fdbpl.pipeline.bench.worker import Timing

OURS, BOUND = "fdbpl", "numpy"


@dataclass(frozen=True, kw_only=True)
class Situation:
    pattern: str
    state: str
    processes: int

    def to_json(self) -> dict[str, Any]:
        return {"pattern": self.pattern, "state": self.state, "processes": self.processes}


@dataclass(kw_only=True)
class Measurement:
    """The rounds of one reader; one that took too long in the first ones has fewer."""

    reader: str
    situation: Situation
    row_bytes: int
    rates: list[float] = field(default_factory=list)
    steps: list[npt.NDArray[np.float64]] = field(default_factory=list)
    resident: list[float] = field(default_factory=list)

    def add(self, timings: Sequence[Timing]) -> None:
        """One round: a timing of each process."""
        self.rates.append(sum(timing.rows_per_s for timing in timings))
        self.steps += [timing.step_seconds for timing in timings]

    @property
    def seconds_a_process(self) -> float:
        """How long each process has read, all rounds together."""
        return sum(float(steps.sum()) for steps in self.steps) / self.situation.processes

    @property
    def rows_per_s(self) -> float:
        return median(self.rates)

    def to_json(self) -> dict[str, Any]:
        p50, p99 = np.percentile(np.concatenate(self.steps), [50, 99]) * 1e6
        return {
            "reader": self.reader,
            **self.situation.to_json(),
            "rows_per_s": round(self.rows_per_s),
            "bytes_per_s": round(self.rows_per_s * self.row_bytes),
            "p50_us": round(float(p50), 1),
            "p99_us": round(float(p99), 1),
            "rounds": len(self.rates),
            "steps": sum(len(steps) for steps in self.steps),
            "resident": round(max(self.resident) if self.situation.state == "cold" else min(self.resident), 4),
        }


def ratios(measurements: Iterable[Measurement]) -> list[dict[str, Any]]:
    """For each situation our rate divided by each other reader's, and by the best one's beside the bound."""
    groups: dict[Situation, dict[str, Measurement]] = {}
    for one in measurements:
        groups.setdefault(one.situation, {})[one.reader] = one
    return [
        {**situation.to_json(), **_compare(group.pop(OURS), group)}
        for situation, group in groups.items()
        if OURS in group
    ]


def _compare(ours: Measurement, others: dict[str, Measurement]) -> dict[str, Any]:
    to = {name: _ratio(ours, other) for name, other in others.items()}
    peers = [name for name in others if name != BOUND]
    best = max(peers, key=lambda name: others[name].rows_per_s, default=None)
    return {"fdbpl_to": to, "best_other": best, "fdbpl_to_best_other": None if best is None else to[best]}


def _ratio(ours: Measurement, other: Measurement) -> float:
    return float(f"{median(a / b for a, b in zip(ours.rates, other.rates, strict=False)):.4g}")
