"""Rates, latencies and ratios, from timings of which the result is known."""

import numpy as np
import pytest

from fdbpl.pipeline.bench.measurement import Measurement, Situation, ratios
from fdbpl.pipeline.bench.worker import Timing

TWO = Situation(pattern="random", state="warm", processes=2)


def timing(rows: int, *seconds: float) -> Timing:
    return Timing(rows=rows, step_seconds=np.array(seconds))


def measured(reader: str, *rates: float) -> Measurement:
    return Measurement(reader=reader, situation=TWO, row_bytes=2, rates=list(rates))


def test_a_rate_is_the_median_over_rounds_of_the_sum_over_processes() -> None:
    one = Measurement(reader="numpy", situation=TWO, row_bytes=10, resident=[1.0])
    one.add([timing(20, 0.5, 0.5), timing(10, 0.5, 0.5)])  # 20 + 10 rows a second
    one.add([timing(10, 0.25, 0.25), timing(30, 1.5, 1.5)])  # 20 + 10
    one.add([timing(400, 1.0, 1.0), timing(400, 1.0, 1.0)])  # 400: a round that the median leaves out
    assert one.seconds_a_process == 4.75
    assert one.to_json() == {
        "reader": "numpy",
        "pattern": "random",
        "state": "warm",
        "processes": 2,
        "rows_per_s": 30,
        "bytes_per_s": 300,
        "p50_us": 750_000.0,
        "p99_us": 1_500_000.0,
        "rounds": 3,
        "steps": 12,
        "resident": 1.0,
    }


def test_ratios_are_taken_within_rounds() -> None:
    ours = measured("fdbpl", 10.0, 20.0, 30.0)
    others = [measured("numpy", 20.0, 40.0, 20.0), measured("lmdb", 5.0, 10.0), measured("h5py", 1.0, 1.0, 1.0)]
    assert ratios([others[0], ours, *others[1:]]) == [
        {
            "pattern": "random",
            "state": "warm",
            "processes": 2,
            "fdbpl_to": {"numpy": 0.5, "lmdb": 2.0, "h5py": 20.0},
            "best_other": "lmdb",
            "fdbpl_to_best_other": 2.0,
        }
    ]


@pytest.mark.parametrize(("others", "best"), [([], None), ([measured("numpy", 2.0)], None)])
def test_there_may_be_nobody_to_compare_with(others: list[Measurement], best: None) -> None:
    (compared,) = ratios([measured("fdbpl", 1.0), *others])
    assert compared["best_other"] is best
    assert ratios(others) == []
