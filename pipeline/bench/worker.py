"""One process of the benchmark: opens readers when it is told to, and times slices of reading.

Every process walks through views of its own, the same for every reader. Buffers are made once, so that no page
of the target is new while the clock runs. A slice ends with the first step after its time, so a slow reader is
timed for at least some steps, and never for many.
"""

from __future__ import annotations

import itertools
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import numpy.typing as npt

from fdbpl.pipeline.bench.data import ROWS_DTYPE, Data
from fdbpl.pipeline.bench.peers.peer import Peer

MIN_STEPS = {"random": 3, "plane": 1}
MAX_COLD_STEPS = 32  # of the random pattern: later ones find more and more pages that earlier ones have read
_COLD_SHARE = 16  # all processes together touch no more than one in so many views
_BARRIER_SECONDS = 120.0

Step = tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class Slice:
    """One turn of one reader: `round_number` of `rounds`, in the first `processes` processes."""

    pattern: str
    state: str
    processes: int
    seconds: float
    round_number: int
    rounds: int


@dataclass(frozen=True, kw_only=True)
class Timing:
    """What one process did in a slice: the seconds of each batch or plane."""

    rows: int
    step_seconds: npt.NDArray[np.float64]

    @property
    def rows_per_s(self) -> float:
        return self.rows / float(self.step_seconds.sum())


class Worker:
    """The readers of one process, numbered from 0."""

    def __init__(self, number: int, peers: Sequence[Peer], data: Data, batch: int, barriers: Mapping[int, Any]) -> None:
        self._number, self._data, self._batch, self._barriers = number, data, batch, barriers
        self._peers = {peer.name: peer for peer in peers}
        self._images, self._seeds = data.views(stream=number)
        self._rows = np.zeros((batch, data.num_classes), ROWS_DTYPE)
        self._plane = np.zeros((data.num_images, data.num_classes), ROWS_DTYPE)

    def give_up(self) -> None:
        """Let nobody wait for this process."""
        for barrier in self._barriers.values():
            barrier.abort()

    def pid(self) -> int:
        return os.getpid()

    def open(self, name: str) -> None:
        self._peers[name].open()

    def close(self, name: str) -> None:
        self._peers[name].close()

    def warm_up(self, name: str, pattern: str, seconds: float) -> None:
        """Read every plane, then for `random` all rows in order, while the time allows: maps and caches are full."""
        planes = ((seed,) for seed in range(self._data.num_seeds))
        times = _run(planes, self._reading(name, "plane"), _nothing, seconds, 1)
        if pattern == "random" and sum(times) < seconds:
            starts = range(0, self._data.num_views - self._batch + 1, self._batch)
            views = (np.arange(start, start + self._batch) for start in starts)
            rows = ((view // self._data.num_seeds, view % self._data.num_seeds) for view in views)
            _run(rows, self._reading(name, "random"), _nothing, seconds, 1)

    def measure(self, name: str, part: Slice) -> Timing:
        """Wait for the others, then read until the time is over."""
        peer, read = self._peers[name], self._reading(name, part.pattern)
        prefetch = peer.prefetch_plane if part.pattern == "plane" else peer.prefetch_rows
        is_cold = part.state == "cold"
        steps = self._planes(part) if part.pattern == "plane" else self._batches(part)
        self._barriers[part.processes].wait(_BARRIER_SECONDS)
        times = _run(steps, read, prefetch if is_cold else _nothing, part.seconds, MIN_STEPS[part.pattern])
        size = self._data.num_images if part.pattern == "plane" else self._batch
        return Timing(rows=size * len(times), step_seconds=np.array(times))

    def _reading(self, name: str, pattern: str) -> Callable[..., None]:
        peer = self._peers[name]
        if pattern == "plane":
            return lambda seed: peer.read_plane(seed, self._plane)
        return lambda images, seeds: peer.read_rows(images, seeds, self._rows)

    def _planes(self, part: Slice) -> Iterable[Step]:
        """Planes in turn from a place of the process's own; cold: each plane is read by one process, once."""
        num_seeds = self._data.num_seeds
        share = max(1, num_seeds // part.processes)
        first = self._number * share + part.round_number
        count = itertools.count() if part.state == "warm" else range(share)
        return (((first + step) % num_seeds,) for step in count)

    def _batches(self, part: Slice) -> Iterable[Step]:
        """Batches of the process's views, from another place in each round."""
        num_batches = len(self._images) // self._batch
        first = part.round_number * num_batches // part.rounds
        limit = self._data.num_views // _COLD_SHARE // self._batch // part.processes
        count = itertools.count() if part.state == "warm" else range(min(MAX_COLD_STEPS, max(1, limit)))
        for step in count:
            start = (first + step) % num_batches * self._batch
            yield self._images[start : start + self._batch], self._seeds[start : start + self._batch]


def serve(connection: Connection, number: int, *arguments: Any) -> None:
    """The process's main function: answers (method, arguments) with (True, result), or (False, traceback) and ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is told, and ends its children
    worker = Worker(number, *arguments)
    while True:
        try:
            method, parameters = connection.recv()
        except EOFError:
            return
        try:
            connection.send((True, getattr(worker, method)(*parameters)))
        except Exception as error:
            connection.send((False, traceback.format_exc()))
            worker.give_up()
            raise SystemExit(1) from error


def _run(
    steps: Iterable[Step],
    read: Callable[..., None],
    prefetch: Callable[..., None],
    seconds: float,
    min_steps: int,
) -> list[float]:
    """The seconds of each step; a step's prefetch, of the step after it, is in its time."""
    times: list[float] = []
    coming = iter(steps)
    begin = last = time.perf_counter()
    step = next(coming, None)
    if step is not None:
        prefetch(*step)
    while step is not None:
        following = next(coming, None)
        if following is not None:
            prefetch(*following)
        read(*step)
        step, now = following, time.perf_counter()
        times.append(now - last)
        last = now
        if now - begin >= seconds and len(times) >= min_steps:
            break
    return times


def _nothing(*_: Any) -> None:
    return None
