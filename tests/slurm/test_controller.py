import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fdbpl.slurm.controller import JobState, ask, availability, job_states, max_array_size, parse_job_states
from fdbpl.slurm.errors import SlurmError

StandIn = Callable[[str, str], None]


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """Puts a program of that name and shell text on PATH, where there is nothing else of Slurm."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def make(name: str, text: str) -> None:
        program = folder / name
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)

    return make


def test_states_are_parsed() -> None:
    answer = (
        "12_3|RUNNING|None|n1|teach-ab\n12_4|PENDING|Resources||teach-ab\n13|OUT_OF_MEMORY|OutOfMemory|n[1-2]|x|y\n"
    )
    states = parse_job_states(answer)
    assert states["12_4"] == JobState(job="12_4", state="PENDING", reason="Resources", nodes="", name="teach-ab")
    assert states["13"].name == "x|y"
    assert [state.has_ended for state in states.values()] == [False, False, True]


def test_a_state_that_nobody_has_heard_of_has_not_ended() -> None:
    assert not parse_job_states("1|DREAMING|None||x")["1"].has_ended


def test_no_jobs_are_not_asked_for(stand_in: StandIn) -> None:
    assert job_states([]) == {}


def test_arrays_are_asked_for_once(stand_in: StandIn) -> None:
    stand_in("squeue", 'echo "1|COMPLETED|None|n1|$*"')
    assert job_states(["12_0", "12_1", "7"])["1"].name.endswith("--jobs=7,12")


def test_a_job_that_squeue_does_not_know_is_unknown(stand_in: StandIn) -> None:
    stand_in("squeue", "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1")
    assert job_states(["12"]) == {}


def test_a_controller_that_does_not_answer_is_no_news(stand_in: StandIn) -> None:
    stand_in("squeue", "echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1")
    with pytest.raises(SlurmError, match="Unable to contact slurm controller"):
        job_states(["12"])


def test_a_command_that_hangs_is_given_up(stand_in: StandIn) -> None:
    with pytest.raises(SlurmError, match=r"no answer within 0\.1 s"):
        ask([sys.executable, "-c", "import signal; signal.pause()"], 0.1)


def test_a_command_that_is_missing_is_named(stand_in: StandIn) -> None:
    with pytest.raises(SlurmError, match="scontrol is not on PATH"):
        max_array_size()


def test_the_longest_array(stand_in: StandIn) -> None:
    stand_in("scontrol", "echo 'MaxArraySize            = 1001'; echo 'MaxJobCount = 5'")
    assert max_array_size() == 1001


def test_availability_without_slurm(stand_in: StandIn) -> None:
    assert availability() == (False, "sbatch is not on PATH")


@pytest.mark.parametrize(("word", "is_there"), [("UP", True), ("DOWN", False)])
def test_availability_follows_the_ping(stand_in: StandIn, word: str, is_there: bool) -> None:
    stand_in("sbatch", "exit 1")
    stand_in("scontrol", f"echo 'Slurmctld(primary) at login1 is {word}'")
    assert availability() == (is_there, f"Slurmctld(primary) at login1 is {word}")


def test_availability_with_clients_alone(stand_in: StandIn) -> None:
    stand_in("sbatch", "exit 1")
    stand_in("scontrol", "echo 'fatal: Could not establish a configuration source' >&2; exit 1")
    is_there, reason = availability()
    assert not is_there
    assert "Could not establish a configuration source" in reason
    assert os.environ["PATH"].endswith("bin")
