import io
import re

import pytest
from rich.console import Console

from fdbpl.pipeline import progress
from fdbpl.pipeline.progress import Ui


def plain(ui: Ui) -> io.StringIO:
    """Sends what the ui says into a text, as to a file."""
    text = io.StringIO()
    ui.console = Console(file=text, width=100)
    return text


def test_plain_lines_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    ui = Ui()
    text = plain(ui)
    with ui.bar("teach", "views") as on_progress:
        on_progress(0, 10)
        on_progress(5, 10)
        on_progress(10, 10)
    lines = text.getvalue().splitlines()
    assert [line.split(" (")[0] for line in lines] == [
        "teach: 0/10 views",
        "teach: 5/10 views",
        "teach: 10/10 views",
    ]
    assert "s left" in lines[1] and "s left" not in lines[2]


def test_work_that_is_short_says_only_that_it_is_done() -> None:
    ui = Ui()
    text = plain(ui)
    with ui.bar("teach", "views") as on_progress:
        for done in range(11):
            on_progress(done, 10)
    assert len(text.getvalue().splitlines()) == 1


def test_a_quiet_one_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    ui = Ui(quiet=True)
    ui.say("hello")
    with ui.bar("teach", "views") as on_progress:
        on_progress(10, 10)
    assert capsys.readouterr() == ("", "")


def test_on_a_terminal_a_bar_tells_the_rate_and_work_without_parts_turns() -> None:
    text = io.StringIO()
    ui = Ui()
    ui.console = Console(file=text, width=120, force_terminal=True)
    with ui.bar("teach", "views") as on_progress:
        on_progress(0, 5000)
        on_progress(5000, 5000)
    # A moment's work: thousands a second.
    assert re.search(r"5000/5000.*views.*\d,\d{3}/s", text.getvalue())
    with ui.busy("planning"):
        pass
    assert "planning …" in text.getvalue()


def test_without_a_terminal_work_without_parts_says_nothing() -> None:
    ui = Ui()
    text = plain(ui)
    with ui.busy("planning"):
        pass
    assert text.getvalue() == ""
