"""A page is one file that needs nothing else; its figures are alike for alike numbers, and of the page's colours."""

import re
from pathlib import Path

from fdbpl.pipeline.pages.figures import figure, new_figure, picture
from fdbpl.pipeline.pages.page import Page, Section, facts, folded, paragraphs, write_page

PNG = b"\x89PNG\r\n\x1a\n"


def drawn(name: str) -> str:
    plot = new_figure(4, 3)
    axes = plot.subplots()
    axes.plot([1, 2], [3, 4], label="a < b at $5 and $6")
    axes.grid(visible=True)
    axes.legend()
    return str(figure(name, plot, "how <it> goes", 'alt "text"'))


def test_equal_drawings_are_equal_bytes_and_ids_are_their_own() -> None:
    assert drawn("one") == drawn("one")
    ids = [set(re.findall(r' id="([^"]+)"', drawn(name))) for name in ("one", "two")]
    assert ids[0] and not ids[0] & ids[1]
    refers = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', drawn("one")))
    assert refers and refers <= ids[0]


def test_drawings_have_the_page_s_colours_and_plain_text() -> None:
    shown = drawn("one")
    assert "currentColor" in shown and "var(--line)" in shown
    assert "#0102" not in shown and "#000000" not in shown
    assert "a &lt; b at $5 and $6" in shown and "how &lt;it&gt; goes" in shown
    assert "<metadata>" not in shown and "<?xml" not in shown


def test_a_page_needs_no_other_file_and_escapes_what_it_is_told(tmp_path: Path) -> None:
    sections = (
        Section(name="a", title="First <b>", body=(paragraphs("x < y"), facts([("k", "<v>")])), note="a & b"),
        Section(name="b", title="Second", body=(folded("more", "<pre>"), picture("p", PNG, "c", "d"))),
    )
    write_page(tmp_path / "page.html", Page(title="T <i>", subtitle="s", sections=sections, style="p { margin: 0 }"))
    text = (tmp_path / "page.html").read_text()
    for escaped in ("T &lt;i&gt;", "First &lt;b&gt;", "x &lt; y", "&lt;v&gt;", "a &amp; b", "&lt;pre&gt;"):
        assert escaped in text
    assert 'src="data:image/png;base64,' in text and "p { margin: 0 }" in text
    # Names of SVG's own vocabularies are no addresses that a browser asks for.
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', text)
    assert "@import" not in text and "url(http" not in text
    assert '<a href="#b">Second</a>' in text
