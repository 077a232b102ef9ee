"""The committed results: each page is made of the numbers beside it, and these are of fresh students enough."""

import json
from pathlib import Path
from typing import Any

import pytest

from fdbpl.pipeline.reproduce.form import FORMS
from fdbpl.pipeline.reproduce.report import page_lines, sentences

DOCS = Path(__file__).parents[3] / "docs"
NAMES = sorted(path.name for path in (DOCS / "reproduction").iterdir())


def results_of(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DOCS / "reproduction" / name / "results.json").read_text())
    return found


def test_the_quick_form_is_there() -> None:
    assert "quick" in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_page_is_made_of_the_numbers_beside_it(name: str) -> None:
    page = (DOCS / "reproduction" / name / "report.md").read_text()
    assert page == "\n".join(page_lines(results_of(name)))


@pytest.mark.parametrize("name", NAMES)
def test_they_are_of_the_form_as_it_is_now(name: str) -> None:
    """A study's folder has its name, without the size."""
    form = FORMS.get(name) or FORMS[f"quick-{name}"]
    assert results_of(name)["form"] == json.loads(json.dumps(form.to_json()))


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_has_five_students_pretrained_anew_or_more(name: str) -> None:
    results = results_of(name)
    students: dict[tuple[str, str, str], set[int]] = {}
    for row in results["results"]:
        students.setdefault((row["split"], row["crops"], row["row"]), set()).add(row["student"])
    assert len(students) == 4 * len(results["form"]["rows"])
    assert all(len(found - {0}) >= 5 for found in students.values())


def test_what_the_docs_say_of_the_methods_is_what_the_spread_allows() -> None:
    told = (DOCS / "reproduction.md").read_text()
    assert [line for line in sentences(results_of("quick")) if f"- {line}\n" not in told] == []
