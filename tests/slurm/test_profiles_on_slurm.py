"""What a site profile asks for, on a real cluster: containers, set-up lines, a limit on jobs in the queue."""

import os
import sys
from collections.abc import Callable
from typing import Any

import pytest

from fdbpl.slurm.chain import Chain
from fdbpl.slurm.chain_status import chain_status
from fdbpl.slurm.journal import read_journal
from fdbpl.slurm.records import read_record
from fdbpl.slurm.start import start

pytestmark = pytest.mark.slurm

MakeChain = Callable[..., Chain]


def test_tasks_and_checks_start_in_the_container_after_the_setup_lines(
    make_chain: MakeChain, slurm_cluster: Any, chains: Any
) -> None:
    profile = {
        # As `apptainer exec image python` does, it changes the environment and starts Python.
        "python": ["env", "IMAGE=the image's", sys.executable],
        "setup": ["export MODULE=loaded"],
        "steps": {"second": {"setup": ["export MODULE=another"]}, "check": {"extra": {"comment": "a check"}}},
    }
    chain = make_chain({"first": ["env-IMAGE-MODULE"], "second": ["env-MODULE"]}, profile=profile)
    assert chains.finish(chain).standing == "complete"
    result = read_record(chain.paths("first"), "env-IMAGE-MODULE").result or {}
    assert (result["IMAGE"], result["MODULE"]) == ("the image's", "loaded")
    assert (read_record(chain.paths("second"), "env-MODULE").result or {})["MODULE"] == "another"
    (check,) = read_journal(chain.paths("first.check")).submissions
    assert "Comment=a check" in slurm_cluster.ask("scontrol", "show", "job", check.array)


def test_a_setup_line_that_fails_fails_the_job_and_says_so(
    make_chain: MakeChain, slurm_cluster: Any, chains: Any
) -> None:
    profile = {"steps": {"first": {"setup": ["module-that-is-gone load cuda"]}}, "retry": {"rounds": 1}}
    chain = make_chain({"first": ["a"], "second": ["b"]}, profile=profile)
    status = chains.finish(chain)
    assert (status.standing, status.step("second").standing) == ("failed", "blocked")
    (records,) = status.step("first").causes.values()
    assert records[0].error is not None
    assert "module-that-is-gone" in records[0].error.traceback
    assert chains.tries(chain) == {} if (chain.folder / "tries").exists() else True


def test_no_more_jobs_are_queued_than_the_site_allows(make_chain: MakeChain, slurm_cluster: Any, chains: Any) -> None:
    """Five jobs, two of them kept for the checks: eight tasks go in waves."""
    chain = make_chain({"first": [f"t{number}" for number in range(8)], "second": ["z"]}, profile={"max_jobs": 5})
    seen: list[int] = []

    def count(_: object) -> None:
        listed = slurm_cluster.ask("squeue", "-h", "-r", "-o", "%i").split()
        seen.append(len(listed))

    placed = start(chain)
    assert len(placed["first"].submitted) == 3
    assert chain_status(chain).step("first").counts["pending"] >= 5
    assert chains.settled(chain, on_update=count).standing == "complete"
    assert max(seen) <= 5, seen
    assert chains.tries(chain) == {**{f"t{number}": 1 for number in range(8)}, "z": 1}
    assert len(read_journal(chain.paths("first")).submissions) >= 3


def test_a_limit_that_leaves_no_room_is_refused(make_chain: MakeChain, slurm_cluster: Any) -> None:
    chain = make_chain({"first": ["a"], "second": ["b"]}, profile={"max_jobs": 2})
    with pytest.raises(Exception, match="max_jobs of the site profile: found 2, expected more than 2"):
        start(chain)
    assert slurm_cluster.ask("squeue", "-h", "-t", "all") == ""
    assert os.listdir(chain.paths("first").submitit) == []  # noqa: PTH208
