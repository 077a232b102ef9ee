"""Cutting a long list of tasks into job arrays that the cluster takes.

Parts are as equal as can be, and their parallel limits add up to no more than the stage's. Where there are
more parts than may run tasks at once, parts wait for one another in as many lines as the limit allows.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ArrayPart:
    """A job array: tasks[start:stop], `parallel` at a time at most, begun once part `after` has ended."""

    start: int
    stop: int
    parallel: int
    after: int | None = None


def array_parts(num_tasks: int, longest: int, max_parallel: int | None) -> list[ArrayPart]:
    """Cut `num_tasks` into arrays of at most `longest` elements, `max_parallel` running at a time over all.

    Raises:
        ValueError: the cluster takes no arrays (MaxArraySize 0).
    """
    if longest < 1:
        raise ValueError(f"MaxArraySize is {longest}: the cluster takes no job arrays; use the local backend")
    if num_tasks == 0:
        return []
    num_parts = -(-num_tasks // longest)
    limit = num_tasks if max_parallel is None else min(max_parallel, num_tasks)
    num_lines = min(num_parts, limit)
    parts = []
    for index in range(num_parts):
        start, stop = (num_tasks * edge // num_parts for edge in (index, index + 1))
        line = index % num_lines
        share = limit // num_lines + (line < limit % num_lines)
        parts.append(
            ArrayPart(
                start=start,
                stop=stop,
                parallel=min(share, stop - start),
                after=index - num_lines if index >= num_lines else None,
            )
        )
    return parts
