import gc
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

from fdbpl.slurm.imports import quick_imports


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    gc.unfreeze()
    yield
    gc.unfreeze()


def test_nothing_is_collected_while_modules_come_and_they_are_not_looked_at_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with quick_imports():
        assert not gc.isenabled()
        monkeypatch.setitem(sys.modules, "made_here", ModuleType("made_here"))
    assert gc.isenabled() and gc.get_freeze_count() > 0


def test_garbage_is_collected_as_ever_where_nothing_came() -> None:
    with quick_imports():
        import json  # noqa: F401 - it is there already
    assert gc.isenabled() and gc.get_freeze_count() == 0


def test_a_collector_that_was_off_stays_off_and_one_that_was_on_comes_back_after_an_error() -> None:
    with pytest.raises(ImportError), quick_imports():
        import fdbpl.no_such_module  # type: ignore[import-not-found]  # noqa: F401
    assert gc.isenabled()
    gc.disable()
    try:
        with quick_imports():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
