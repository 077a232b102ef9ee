"""A page for people: one HTML file that needs no network, light or dark, on a phone and on paper."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template
from markupsafe import Markup

from fdbpl.pipeline.whole_file import replace_file


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of a page.

    Attributes:
        name: its place in the address, `#name`.
        body: tables, figures and paragraphs, one below another.
        note: a sentence or two above them.
    """

    name: str
    title: str
    body: tuple[Markup, ...]
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Page:
    """A whole page.

    Attributes:
        subtitle: the result in a sentence.
        style: CSS of this page's own.
    """

    title: str
    subtitle: str
    sections: tuple[Section, ...]
    style: str = ""


def write_page(path: Path, page: Page) -> None:
    """Write it whole. What is no Markup in it is escaped."""
    own = {name: Markup(_text("fdbpl.pipeline.pages", name)) for name in ("page.css", "page.js")}
    text = template("fdbpl.pipeline.pages", "page.html.j2").render(page=page, css=own["page.css"], js=own["page.js"])
    replace_file(path, text.encode())


def paragraphs(*lines: str) -> Markup:
    """Plain sentences, each a paragraph."""
    return Markup("").join(Markup("<p>{}</p>").format(line) for line in lines)


def folded(title: str, text: str) -> Markup:
    """A long text behind its title, as it is."""
    return Markup("<details><summary>{}</summary><pre>{}</pre></details>").format(title, text)


def facts(pairs: Sequence[tuple[str, object]]) -> Markup:
    """Names and values beside one another."""
    rows = Markup("").join(Markup("<dt>{}</dt><dd>{}</dd>").format(name, value) for name, value in pairs)
    return Markup('<dl class="facts">{}</dl>').format(rows)


@lru_cache(maxsize=16)
def template(package: str, name: str) -> Template:
    """A jinja2 template that lies beside the modules of a package; what it is given is escaped."""
    environment = Environment(
        loader=FunctionLoader(lambda one: _text(package, one)),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def _text(package: str, name: str) -> str:
    return files(package).joinpath(name).read_text()
