"""The documentation as a site: it builds strictly and without a network, and its reference is as the program says.

Strictly means that every page is in the navigation and that every link and anchor leads somewhere (`validation` in
mkdocs.yml), so the test changes a copy of the pages to see that each of these is noticed.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fdbpl.pipeline import exit_codes
from fdbpl.pipeline.reference.pages import PAGES
from fdbpl.pipeline.reference.site import for_site

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
# What the build reads beside docs/.
BESIDE = ("mkdocs.yml", "CHANGELOG.md", "README.md", "cache_layout/FORMAT.md", "pipeline/reference/site.py")


def copied(folder: Path) -> Path:
    """A copy of the documentation that a test may change."""
    shutil.copytree(DOCS, folder / "docs")
    for name in BESIDE:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    return folder


def build(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict"],
        cwd=folder,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    folder = copied(tmp_path_factory.mktemp("docs"))
    answer = build(folder)
    assert answer.returncode == 0, answer.stderr
    assert "WARNING" not in answer.stderr
    return folder / "build" / "site"


def test_every_page_is_built(site: Path) -> None:
    pages = {path.relative_to(DOCS).with_suffix(".html") for path in DOCS.rglob("*.md")}
    pages |= {Path("changelog.html"), Path("reference/format.html")}
    assert pages <= {path.relative_to(site) for path in site.rglob("*.html")}
    assert len(pages) > 40


def test_no_page_asks_for_anything_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        loaded = re.findall(r"<(?:script|link|img|iframe)\b[^>]*?(?:src|href)=\"?([^\s\">]+)", page.read_text())
        assert loaded and not [address for address in loaded if "//" in address], page


def test_links_out_of_the_docs_lead_to_pages(site: Path) -> None:
    assert 'href="reference/format.html"' in (site / "archives.html").read_text()
    assert 'href="../encodings.html"' in (site / "reference" / "format.html").read_text()
    assert 'href="bad-images.html"' in (site / "changelog.html").read_text()
    assert "ranking.py</a>" not in (site / "methods.html").read_text()


def test_what_is_wrong_is_noticed(tmp_path: Path) -> None:
    """A page that is in no list, a link to no page, to no anchor, and from the top of the disk."""
    folder = copied(tmp_path)
    (folder / "docs" / "lost.md").write_text("# Lost\n")
    with (folder / "docs" / "index.md").open("a") as file:
        file.write("\n[page](nowhere.md), [anchor](methods.md#nothing), [absolute](/methods.md)\n")
    answer = build(folder)
    assert answer.returncode != 0, answer.stdout
    for told in ("lost.md", "nowhere.md", "#nothing", "absolute link '/methods.md'"):
        assert told in answer.stderr


@pytest.mark.parametrize("name", PAGES)
def test_the_reference_is_as_the_program_says(name: str) -> None:
    assert (DOCS / "reference" / name).read_text() == PAGES[name](), "`make reference` makes it anew"


def test_every_option_and_key_of_the_reference_has_a_meaning() -> None:
    rows = [row for name in PAGES for row in (DOCS / "reference" / name).read_text().splitlines() if row[:3] == "| `"]
    assert len(rows) > 200
    assert not [row for row in rows if row.endswith("|  |")]


def test_the_exit_codes_are_the_programs() -> None:
    table = re.findall(r"^\| (\d+) \|", (DOCS / "reference" / "cli.md").read_text(), flags=re.MULTILINE)
    assert [int(code) for code in table] == sorted(value for name, value in vars(exit_codes).items() if name.isupper())


def test_links_and_lists_are_for_the_site() -> None:
    text = "See\n- [a](../docs/loading.md#the-pass), [b](../slurm/chain.py)\n```\n[c](../slurm/chain.py)\n- d\n```\n"
    assert for_site(text, source="cache_layout/FORMAT.md", page="reference/format.md") == (
        "See\n\n- [a](../loading.md#the-pass), b\n```\n[c](../slurm/chain.py)\n- d\n```\n"
    )
