import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdbpl.slurm.array_parts import ArrayPart, array_parts


def test_one_array_where_it_fits() -> None:
    assert array_parts(12, 1001, None) == [ArrayPart(start=0, stop=12, parallel=12)]
    assert array_parts(1001, 1001, 8) == [ArrayPart(start=0, stop=1001, parallel=8)]
    assert array_parts(0, 1001, 8) == []


def test_long_lists_are_split_and_the_limit_divided() -> None:
    assert array_parts(2500, 1001, 100) == [
        ArrayPart(start=0, stop=833, parallel=34),
        ArrayPart(start=833, stop=1666, parallel=33),
        ArrayPart(start=1666, stop=2500, parallel=33),
    ]


def test_more_parts_than_the_limit_wait_in_lines() -> None:
    assert array_parts(12, 5, 2) == [
        ArrayPart(start=0, stop=4, parallel=1),
        ArrayPart(start=4, stop=8, parallel=1),
        ArrayPart(start=8, stop=12, parallel=1, after=0),
    ]


def test_a_cluster_without_arrays_is_refused() -> None:
    with pytest.raises(ValueError, match="MaxArraySize is 0"):
        array_parts(3, 0, None)


@settings(deadline=None)
@given(st.integers(1, 200), st.integers(1, 50), st.none() | st.integers(1, 20))
def test_parts_cover_the_tasks_and_keep_the_limits(num_tasks: int, longest: int, limit: int | None) -> None:
    parts = array_parts(num_tasks, longest, limit)
    covered = [index for part in parts for index in range(part.start, part.stop)]
    assert covered == list(range(num_tasks))
    assert all(1 <= part.parallel <= part.stop - part.start <= longest for part in parts)
    lines: dict[int, int] = {}
    for index, part in enumerate(parts):
        line = index if part.after is None else lines[part.after]
        lines[index] = line
    at_once = sum(
        max(part.parallel for i, part in enumerate(parts) if lines[i] == line) for line in set(lines.values())
    )
    assert limit is None or at_once <= limit
