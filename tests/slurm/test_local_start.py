"""Starting a chain in the background on this machine: what is told where it does not come to that."""

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fdbpl.slurm.chain import Chain, load_chain
from fdbpl.slurm.errors import NotStarted
from fdbpl.slurm.json_files import write_json
from fdbpl.slurm.local_driver import driver_log, local_driver
from fdbpl.slurm.local_start import main, start_in_background

MakeChain = Callable[..., Chain]


def test_a_process_that_ends_at_once_is_told_with_its_own_last_lines(
    make_chain: MakeChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho no torch here >&2\nexit 3\n")
    program.chmod(0o755)
    chain = make_chain({"first": ["a"]})
    driver_log(chain.folder).parent.mkdir()
    driver_log(chain.folder).write_text("of an earlier run\n")
    monkeypatch.setattr(sys, "executable", str(program))
    with pytest.raises(NotStarted) as caught:
        start_in_background(chain, 1)
    assert str(caught.value) == "the run ended as soon as it began (exit 3):\nno torch here"
    assert load_chain(chain.folder) == chain


def test_a_run_that_a_process_is_at_work_on_is_left_to_it(make_chain: MakeChain) -> None:
    chain = make_chain({"first": ["a"]})
    with local_driver(chain.folder):
        assert start_in_background(chain, 1) == os.getpid()
    elsewhere = {"host": f"not-{socket.gethostname()}", "pid": 7, "ticks": "1"}
    write_json(chain.folder / "records" / "driver.json", elsewhere)
    assert start_in_background(chain, 1) is None
    assert not driver_log(chain.folder).exists()


@pytest.mark.parametrize(("tasks", "code"), [(["a"], 0), (["wrong-a"], 4)])
def test_the_exit_code_says_whether_the_run_is_complete(make_chain: MakeChain, tasks: list[str], code: int) -> None:
    chain = make_chain({"first": tasks})
    chain.save()
    assert main([str(chain.folder), "1"]) == code


def test_a_run_that_is_interrupted_is_stopped(make_chain: MakeChain, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    chain = make_chain({"first": ["a"]})
    chain.save()
    monkeypatch.setattr("fdbpl.slurm.local_start.run_here", interrupted)
    assert main([str(chain.folder), "0"]) == 75
