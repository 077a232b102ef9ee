"""Which pages of docs/reference are made from the program, and by what."""

from collections.abc import Callable, Mapping

from fdbpl.pipeline.reference.cli import command_page
from fdbpl.pipeline.reference.config import config_page

PAGES: Mapping[str, Callable[[], str]] = {"cli.md": command_page, "config.md": config_page}
