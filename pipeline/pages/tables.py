"""Tables: on a page, with buttons that save them, and as the CSV and LaTeX that these give."""

import csv
import io
from collections.abc import Collection, Sequence
from pathlib import Path

from markupsafe import Markup

from fdbpl.pipeline.pages.page import template
from fdbpl.pipeline.whole_file import replace_file

Rows = Sequence[Sequence[object]]

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "\u2212": "$-$",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}


def table(
    name: str, titles: Sequence[str], rows: Rows, *, numeric: Collection[int] | None = None, caption: str = ""
) -> Markup:
    """A table that scrolls sideways where the screen is narrow.

    Args:
        name: of the files that its buttons save.
        numeric: columns that stand to the right; None: all but the first.
    """
    right = set(range(1, len(titles)) if numeric is None else numeric)
    files = {f"{name}.csv": csv_text(titles, rows), f"{name}.tex": latex_text(titles, rows, right)}
    made = template("fdbpl.pipeline.pages", "table.html.j2").render(
        name=name, titles=titles, rows=rows, right=right, caption=caption, files=files
    )
    return Markup(made)


def csv_text(titles: Sequence[str], rows: Rows) -> str:
    """As RFC 4180 has it, but with plain line ends."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([titles, *rows])
    return out.getvalue()


def latex_text(titles: Sequence[str], rows: Rows, right: Collection[int]) -> str:
    """A tabular with the rules of booktabs."""
    columns = "".join("r" if number in right else "l" for number in range(len(titles)))
    lines = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", _latex_row(titles), r"\midrule"]
    return "\n".join([*lines, *map(_latex_row, rows), r"\bottomrule", r"\end{tabular}"]) + "\n"


def write_tables(folder: Path, tables: dict[str, tuple[Sequence[str], Rows]]) -> list[Path]:
    """Each table as NAME.csv and NAME.tex; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, (titles, rows) in tables.items():
        texts = {"csv": csv_text(titles, rows), "tex": latex_text(titles, rows, range(1, len(titles)))}
        for suffix, text in texts.items():
            paths.append(folder / f"{name}.{suffix}")
            replace_file(paths[-1], text.encode())
    return paths


def _latex_row(cells: Sequence[object]) -> str:
    return " & ".join("".join(_LATEX.get(sign, sign) for sign in str(cell)) for cell in cells) + r" \\"
