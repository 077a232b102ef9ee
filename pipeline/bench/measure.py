"""The measuring: for each situation several rounds, in each of which every reader has one short turn.

Warm readers are opened once in every process, and read every row before they are timed. Cold ones are opened
for each turn, after their files were evicted, and closed again. A reader that has used twice its time sits out
the rounds that are left.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from fdbpl.pipeline.bench.measurement import Measurement, Situation
from fdbpl.pipeline.bench.page_cache import files_below, make_cold, resident_share, warm
from fdbpl.pipeline.bench.parameters import BenchParameters
from fdbpl.pipeline.bench.peers.peer import Peer
from fdbpl.pipeline.bench.worker import Slice
from fdbpl.pipeline.bench.worker_pool import WorkerPool
from fdbpl.pipeline.progress import OnProgress

_PATIENCE = 2.0


class Measuring:
    """All measurements of one run."""

    def __init__(
        self,
        peers: Sequence[Peer],
        folder: Path,
        parameters: BenchParameters,
        pool: WorkerPool,
        on_progress: OnProgress,
    ) -> None:
        self._peers, self._parameters, self._pool = peers, parameters, pool
        self._files = {peer.name: list(files_below(folder / name for name in peer.formats())) for peer in peers}
        self._on_progress, self._done = on_progress, 0

    def run(self) -> list[Measurement]:
        parameters = self._parameters
        measured = []
        for state in parameters.states:
            for pattern in parameters.patterns:
                with self._opened(pattern, is_needed=state == "warm"):
                    for processes in parameters.processes:
                        situation = Situation(pattern=pattern, state=state, processes=processes)
                        measured += self._measure(situation)
        return measured

    @contextmanager
    def _opened(self, pattern: str, *, is_needed: bool) -> Iterator[None]:
        """Every reader open and warmed up in every process."""
        if not is_needed:
            yield
            return
        for peer in self._peers:
            warm(self._files[peer.name])
            self._pool.call(len(self._pool), "open", peer.name)
            if peer.warm_up_seconds > 0:
                self._pool.call(len(self._pool), "warm_up", peer.name, pattern, peer.warm_up_seconds)
        yield
        for peer in self._peers:
            self._pool.call(len(self._pool), "close", peer.name)

    def _measure(self, situation: Situation) -> list[Measurement]:
        measurements = {
            peer.name: Measurement(reader=peer.name, situation=situation, row_bytes=self._parameters.data.row_bytes)
            for peer in self._peers
        }
        if situation.state == "warm":
            for name, one in measurements.items():
                warm(self._files[name])
                one.resident.append(resident_share(self._files[name]))
        names = list(measurements)
        for round_number in range(self._parameters.rounds):
            turn = round_number % len(names)  # nobody always follows the same neighbour
            for name in names[turn:] + names[:turn]:
                if measurements[name].seconds_a_process < _PATIENCE * self._parameters.seconds:
                    self._turn(measurements[name], round_number)
                self._done += 1
                self._on_progress(self._done, self.num_turns)
        return list(measurements.values())

    def _turn(self, one: Measurement, round_number: int) -> None:
        situation, parameters = one.situation, self._parameters
        part = Slice(
            pattern=situation.pattern,
            state=situation.state,
            processes=situation.processes,
            seconds=parameters.seconds / parameters.rounds,
            round_number=round_number,
            rounds=parameters.rounds,
        )
        if situation.state == "cold":
            one.resident.append(make_cold(self._files[one.reader]))
            self._pool.call(situation.processes, "open", one.reader)
        one.add(self._pool.call(situation.processes, "measure", one.reader, part))
        if situation.state == "cold":
            self._pool.call(situation.processes, "close", one.reader)

    @property
    def num_turns(self) -> int:
        parameters = self._parameters
        situations = len(parameters.states) * len(parameters.patterns) * len(parameters.processes)
        return situations * parameters.rounds * len(self._peers)
