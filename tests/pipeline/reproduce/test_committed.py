"""The committed results: the page is made of the numbers beside it, and these are of fresh students enough."""

import json
from pathlib import Path
from typing import Any

import pytest

from fdbpl.pipeline.reproduce.form import FORMS
from fdbpl.pipeline.reproduce.report import page_lines, sentences

DOCS = Path(__file__).parents[3] / "docs"
FOLDER = DOCS / "reproduction" / "quick"


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / "results.json").read_text())
    return found


def test_the_page_is_made_of_the_numbers_beside_it(results: dict[str, Any]) -> None:
    assert (FOLDER / "report.md").read_text() == "\n".join(page_lines(results))


def test_they_are_of_the_form_as_it_is_now(results: dict[str, Any]) -> None:
    assert results["form"] == json.loads(json.dumps(FORMS["quick"].to_json()))


def test_every_setting_has_five_students_pretrained_anew_or_more(results: dict[str, Any]) -> None:
    students: dict[tuple[str, str, str], set[int]] = {}
    for row in results["results"]:
        students.setdefault((row["split"], row["crops"], row["row"]), set()).add(row["student"])
    assert len(students) == 12
    assert all(len(found - {0}) >= 5 for found in students.values())


def test_what_the_docs_say_of_the_methods_is_what_the_spread_allows(results: dict[str, Any]) -> None:
    told = (DOCS / "reproduction.md").read_text()
    assert [line for line in sentences(results) if f"- {line}\n" not in told] == []
