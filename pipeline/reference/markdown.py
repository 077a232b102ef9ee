"""Pieces of Markdown that the pages of the reference are made of."""


def table(*heads: str) -> list[str]:
    """The two first lines of a table."""
    return [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]


def row(*cells: str | None) -> str:
    """A line of a table; bars within cells are kept from ending them."""
    return f"| {' | '.join(_cell(cell or '') for cell in cells)} |"


def code(text: str) -> str:
    """Words of the program as such; with quotes of its own where it holds one."""
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
