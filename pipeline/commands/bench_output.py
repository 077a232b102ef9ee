"""What commands that measure share: lists as words, results as a table."""

from typing import Any


def show_simple(results: dict[str, Any]) -> None:
    from rich.console import Console

    from fdbpl.pipeline.bench.simple_output import simple_table

    Console(highlight=False).print(simple_table(results))


def words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def numbers(text: str, flag: str) -> tuple[int, ...]:
    """ValueError where one of the words is no whole number."""
    try:
        return tuple(map(int, words(text)))
    except ValueError:
        raise ValueError(f"{flag}: found {text!r}, expected whole numbers separated by commas") from None
