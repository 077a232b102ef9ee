"""The results as tables for people: one for each pattern and state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.box import SIMPLE
from rich.table import Table


def result_tables(results: dict[str, Any]) -> Iterator[Table]:
    """A line for each reader: thousands of rows a second by processes, latency of one process, and our ratio to it."""
    parameters = results["parameters"]
    for pattern in parameters["patterns"]:
        for state in parameters["states"]:
            yield _table(results, pattern, state)


def _table(results: dict[str, Any], pattern: str, state: str) -> Table:
    counts = results["parameters"]["processes"]
    rows = {(o["reader"], o["processes"]): o for o in results["results"] if _is(o, pattern, state)}
    compared: dict[str, float] = next((o["fdbpl_to"] for o in results["ratios"] if _is(o, pattern, state)), {})
    step = "batch" if pattern == "random" else "plane"
    table = Table(title=f"{pattern}, {state}: thousand rows a second", box=SIMPLE)
    table.add_column("reader", no_wrap=True)
    columns = [*map(_processes, counts), "p50 ms", "p99 ms", "fdbpl to it"]
    for column in columns:
        table.add_column(column, justify="right")
    for reader in results["settings"]:
        first = rows[reader, counts[0]]
        table.add_row(
            reader,
            *(_short(rows[reader, count]["rows_per_s"] / 1000) for count in counts),
            _short(first["p50_us"] / 1000),
            _short(first["p99_us"] / 1000),
            f"{_short(compared[reader])}x" if reader in compared else "",
        )
    table.caption = f"p50 and p99 of a {step}, and fdbpl's rate to each reader's: {_processes(counts[0])}"
    return table


def _short(value: float) -> str:
    """Three digits or more: the table is to fit into 80 columns."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _processes(count: int) -> str:
    return f"{count} proc."


def _is(one: dict[str, Any], pattern: str, state: str) -> bool:
    return bool(one["pattern"] == pattern and one["state"] == state)
