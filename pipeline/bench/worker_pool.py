"""The processes of the benchmark, started once and told what to do; started by spawn, one BLAS thread each."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from fdbpl.pipeline.bench.parameters import BenchParameters
from fdbpl.pipeline.bench.peers.peer import Peer
from fdbpl.pipeline.bench.worker import serve

_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_END_SECONDS = 5.0


class WorkerFailed(RuntimeError):
    """A process of the benchmark failed; the message holds its traceback."""


class WorkerPool:
    """As many processes as any measurement needs; those with the lowest numbers take part in smaller ones."""

    def __init__(self, peers: Sequence[Peer], parameters: BenchParameters) -> None:
        context = multiprocessing.get_context("spawn")
        self._barriers = {count: context.Barrier(count) for count in parameters.processes}
        self._processes, self._connections = [], []
        with _environment(_ONE_THREAD):
            for number in range(max(parameters.processes)):
                ours, theirs = context.Pipe()
                arguments = (theirs, number, peers, parameters.data, parameters.batch, self._barriers)
                process = context.Process(target=serve, args=arguments, daemon=True)
                process.start()
                theirs.close()
                self._processes.append(process)
                self._connections.append(ours)

    def __len__(self) -> int:
        return len(self._processes)

    def call(self, count: int, method: str, *arguments: Any) -> list[Any]:
        """Call a method of the first `count` workers at once; their results in order.

        Raises:
            WorkerFailed: with the traceback of one that failed, or its exit code if it is gone.
        """
        for connection in self._connections[:count]:
            connection.send((method, arguments))
        results: list[Any] = []
        failures: list[str] = []
        for number, connection in enumerate(self._connections[:count]):
            try:
                is_right, result = connection.recv()
            except (EOFError, ConnectionError):
                self._processes[number].join(_END_SECONDS)
                is_right, result = False, f"ended with code {self._processes[number].exitcode}"
            (results if is_right else failures).append(result)
        if failures:
            # Those that waited for one that failed have failed too, and are not the cause.
            failures.sort(key=lambda text: "BrokenBarrierError" in text)
            raise WorkerFailed(f"a process of the benchmark failed in {method}{arguments}:\n{failures[0]}")
        return results

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._connections:
            connection.close()  # a worker that waits for a message ends by itself
        for process in self._processes:
            process.join(_END_SECONDS)
            if process.is_alive():
                process.kill()
                process.join()


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
