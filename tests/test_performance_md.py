"""docs/performance.md repeats figures of other pages: each is there, so that neither is changed alone."""

import re
from pathlib import Path

import pytest

from fdbpl.pipeline.commands.examples import EXAMPLES

DOCS = Path(__file__).parents[1] / "docs"
ROWS = [
    re.split(r" \| ", line[2:-2])
    for line in (DOCS / "performance.md").read_text().splitlines()
    if line.startswith("| ") and line.endswith(".md) |")
]


FIRST = [
    re.split(r" \| ", line[2:-2])
    for line in (DOCS / "index.md").read_text().partition("\n## What it refuses")[0].splitlines()
    if line.startswith("| ") and line.endswith(".md) |")
]


def figures(text: str) -> set[str]:
    """The numbers of a cell or page: 1,000 is one."""
    return set(re.findall(r"\d[\d,]*(?:\.\d+)?(?:e-\d+)?(?!\d)", text.replace("top-16", "")))


def test_there_are_many_rows() -> None:
    assert len(ROWS) > 30 and {len(row) for row in ROWS} == {6}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_its_figures_are_on_its_page(row: list[str]) -> None:
    _, figure, command, machine, state, page = row
    (target,) = re.findall(r"\(([\w/-]+\.md)\)", page)
    found = (DOCS / target).read_text()
    assert figures(figure) and figures(figure) <= figures(found)
    assert machine in {"2 cores", "1 thread", "H200"} or machine.startswith("any")
    assert state in {"warm", "cold", "memory", "-"}
    program = re.findall(r"`(fdbpl \w+(?: \w+)?|python [\w/.]+)", command)
    assert all(" ".join(one.split()[:2]) in found for one in program)


@pytest.mark.parametrize("row", FIRST, ids=lambda row: row[0])
def test_the_first_page_has_figures_of_its_pages(row: list[str]) -> None:
    _, figure, page = row
    (target,) = re.findall(r"\(([\w/-]+\.md)\)", page)
    assert figures(figure) and figures(figure) <= figures((DOCS / target).read_text())


def test_every_benchmark_is_told_of() -> None:
    benchmarks = [name for name in EXAMPLES if name.startswith("bench ")]
    for page in ("performance.md", "how-to/measure.md"):
        text = (DOCS / page).read_text().replace("`make gpu-check`", "fdbpl bench gpu")
        assert len(benchmarks) >= 10 and not [name for name in benchmarks if f"fdbpl {name}" not in text]
