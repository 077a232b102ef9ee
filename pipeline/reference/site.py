"""What mkdocs is told beside mkdocs.yml, so that the same Markdown reads well on a Git host and as a site.

Two documents outside of docs/ become pages. A link to one of them leads to its page, a link to any other file outside
of docs/ is left as its words: a site has no source files. A list right below a sentence, which a Git host sees and
Python-Markdown does not, gets the empty line between.
"""

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

# Documents of the repository -> their pages in the site, both by their paths from the top of each.
PAGES = {
    "cache_layout/FORMAT.md": "reference/format.md",
    "CHANGELOG.md": "changelog.md",
    "README.md": "index.md",
}
# Made from their documents; README's part in the site is played by a page of its own.
MADE = ("cache_layout/FORMAT.md", "CHANGELOG.md")

_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s]+)\)")
_ITEM = re.compile(r"(?:[-*] |\d+\. |\|)")
_FENCE = re.compile(r" *(?:```|~~~)")


def on_files(files: "Files", config: "MkDocsConfig") -> "Files":
    """Add the pages that are made from documents outside of docs/."""
    from mkdocs.structure.files import File

    top = Path(config.docs_dir).parent
    for source in MADE:
        files.append(File.generated(config, PAGES[source], content=(top / source).read_text()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """A page's text, with links that work where it is in the site."""
    made_from = {PAGES[source]: source for source in MADE}
    place = page.file.src_uri
    return for_site(markdown, source=made_from.get(place, f"docs/{place}"), page=place)


def for_site(markdown: str, *, source: str, page: str) -> str:
    """A document as Markdown for a page of the site.

    Args:
        source: the document's path in the repository, from which its links are meant.
        page: the page's path in docs/.
    """
    lines: list[str] = []
    fenced = False
    for line in markdown.split("\n"):
        if _FENCE.match(line):
            fenced = not fenced
        elif not fenced:
            if _ITEM.match(line) and lines and _is_sentence(lines[-1]):
                lines.append("")
            line = _LINK.sub(lambda link: _relinked(link, source, page), line)
        lines.append(line)
    return "\n".join(lines)


def _is_sentence(line: str) -> bool:
    """Whether a list below a line would be taken for a part of it."""
    return bool(line) and line[0] not in " #>" and not _ITEM.match(line) and not _FENCE.match(line)


def _relinked(link: re.Match[str], source: str, page: str) -> str:
    words, target = link.groups()
    path, mark, anchor = target.partition("#")
    if "://" in target or target.startswith(("mailto:", "/")) or not path:
        return link.group(0)
    found = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
    inside = PAGES.get(found) or (found.removeprefix("docs/") if found.startswith("docs/") else None)
    if inside is None:
        return words
    return f"[{words}]({posixpath.relpath(inside, posixpath.dirname(page) or '.')}{mark}{anchor})"
