"""One process's slices, with a reader that only writes down what it was asked for."""

import threading
import time
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from fdbpl.pipeline.bench.data import Data, Numbers, Rows
from fdbpl.pipeline.bench.parameters import BenchParameters
from fdbpl.pipeline.bench.peers.numpy_peer import NumpyPeer
from fdbpl.pipeline.bench.peers.peer import Peer
from fdbpl.pipeline.bench.worker import MAX_COLD_STEPS, Slice, Worker
from fdbpl.pipeline.bench.worker_pool import WorkerFailed, WorkerPool

LARGE = Data(num_images=4096, num_seeds=16, num_classes=1)


class Diary(Peer):
    """Writes down calls; a read takes `seconds`."""

    name: ClassVar[str] = "diary"
    seconds = 0.0

    def __init__(self, folder: Path, data: Data) -> None:
        super().__init__(folder, data)
        self.calls: list[tuple[str, Any]] = []

    def read_rows(self, images: Numbers, seeds: Numbers, out: Rows) -> None:
        self.calls.append(("read", images[0]))
        time.sleep(self.seconds)

    def read_plane(self, seed: int, out: Rows) -> None:
        self.calls.append(("read", seed))

    def prefetch_rows(self, images: Numbers, seeds: Numbers) -> None:
        self.calls.append(("prefetch", images[0]))

    def prefetch_plane(self, seed: int) -> None:
        self.calls.append(("prefetch", seed))


def slice_of(pattern: str, state: str, **changes: Any) -> Slice:
    values = {"processes": 1, "seconds": 60.0, "round_number": 0, "rounds": 5, **changes}
    return Slice(pattern=pattern, state=state, **values)


def worker_of(number: int = 0, processes: int = 1, data: Data = LARGE) -> tuple[Worker, Diary]:
    diary = Diary(Path("nowhere"), data)
    return Worker(number, [diary], data, 32, {processes: threading.Barrier(1)}), diary


def test_cold_batches_are_few_and_prefetched_one_ahead() -> None:
    worker, diary = worker_of()
    timing = worker.measure("diary", slice_of("random", "cold"))
    assert len(timing.step_seconds) == MAX_COLD_STEPS == 32
    assert timing.rows == 32 * 32
    first = [images[0] for images in np.split(LARGE.views(0)[0][: 32 * 32], 32)]
    assert diary.calls[:5] == [
        ("prefetch", first[0]),
        ("prefetch", first[1]),
        ("read", first[0]),
        ("prefetch", first[2]),
        ("read", first[1]),
    ]
    assert diary.calls[-1] == ("read", first[31])
    assert len(diary.calls) == 64


def test_cold_planes_are_read_once_by_one_process_each() -> None:
    seen = []
    for number in range(3):
        worker, diary = worker_of(number, 3)
        worker.measure("diary", slice_of("plane", "cold", processes=3, round_number=2))
        seen += [seed for call, seed in diary.calls if call == "read"]
    assert len(seen) == len(set(seen)) == 15


def test_rounds_read_other_views_and_warm_ones_are_not_prefetched() -> None:
    first = []
    for round_number in range(3):
        worker, diary = worker_of()
        worker.measure("diary", slice_of("random", "warm", seconds=0.001, round_number=round_number))
        assert {call for call, _ in diary.calls} == {"read"}
        first.append(diary.calls[0][1])
    assert len(set(first)) == 3


def test_a_slow_reader_ends_after_the_least_number_of_steps() -> None:
    worker, diary = worker_of()
    diary.seconds = 0.002
    timing = worker.measure("diary", slice_of("random", "warm", seconds=1e-9))
    assert len(timing.step_seconds) == 3
    assert timing.step_seconds.min() >= 0.002


def test_warming_up_reads_every_plane_and_every_batch_of_rows() -> None:
    worker, diary = worker_of()
    worker.warm_up("diary", "plane", 60.0)
    assert diary.calls == [("read", seed) for seed in range(16)]
    diary.calls.clear()
    worker.warm_up("diary", "random", 60.0)
    assert diary.calls[:16] == [("read", seed) for seed in range(16)]
    assert diary.calls[16:] == [("read", image) for image in range(0, 4096, 2)]


def test_a_process_that_fails_is_told_of_with_its_traceback(tmp_path: Path, data: Data) -> None:
    parameters = BenchParameters(data=data, readers=("numpy",), processes=(2,))
    with WorkerPool([NumpyPeer(tmp_path / "none", data)], parameters) as pool:
        assert len({*pool.call(2, "pid")}) == 2
        with pytest.raises(WorkerFailed, match=r"(?s)failed in open.*FileNotFoundError"):
            pool.call(2, "open", "numpy")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patterns": ("random", "sideways")}, "patterns: found random, sideways, expected some of random, plane"),
        ({"states": ()}, "states: found none"),
        ({"processes": (1, 0)}, "processes: found"),
        ({"readers": ("numpy", "numpy")}, "readers: found numpy, numpy, expected each once"),
        ({"seconds": 0.0}, "seconds: found 0.0, expected a positive number"),
    ],
)
def test_senseless_parameters_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BenchParameters(**{"data": LARGE, "readers": ("numpy",), **changes})
