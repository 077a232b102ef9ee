"""Tables as CSV and LaTeX, and on a page."""

import csv
import io
from pathlib import Path

from fdbpl.pipeline.pages.tables import csv_text, latex_text, table, write_tables

TITLES = ("method", "HM")
ROWS = [('a & b_1, "c"', "81.5 ± 0.6"), ("<script>", "-")]


def test_csv_is_read_back() -> None:
    assert list(csv.reader(io.StringIO(csv_text(TITLES, ROWS)))) == [list(TITLES), *(list(row) for row in ROWS)]


def test_latex_is_a_booktabs_tabular() -> None:
    assert latex_text(TITLES, ROWS, {1}).splitlines() == [
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"method & HM \\",
        r"\midrule",
        r"a \& b\_1, \"c\" & 81.5 $\pm$ 0.6 \\".replace(r"\"", '"'),
        r"<script> & - \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]
    assert latex_text(("a\\b",), [("50 % of {x}^2 ~ $1#",)], ()).splitlines()[2::2] == [
        r"a\textbackslash{}b \\",
        r"50 \% of \{x\}\textasciicircum{}2 \textasciitilde{} \$1\# \\",
        r"\end{tabular}",
    ]


def test_a_page_shows_cells_as_text() -> None:
    shown = table("results", TITLES, ROWS, caption="a < b")
    assert "<script>" not in shown and "&lt;script&gt;" in shown and "a &lt; b" in shown
    assert shown.count('class="number"') == 1 + len(ROWS)
    assert 'data-file="results.csv"' in shown and 'data-file="results.tex"' in shown


def test_tables_are_written_beside_one_another(tmp_path: Path) -> None:
    paths = write_tables(tmp_path / "tables", {"results": (TITLES, ROWS)})
    assert [path.name for path in paths] == ["results.csv", "results.tex"]
    assert paths[0].read_text() == csv_text(TITLES, ROWS)
    assert paths[1].read_text() == latex_text(TITLES, ROWS, {1})
