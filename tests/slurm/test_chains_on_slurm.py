"""Chains on a real cluster: one call submits everything, and it finishes by itself."""

from collections.abc import Callable
from typing import Any

import pytest

from fdbpl.slurm.chain import Chain
from fdbpl.slurm.chain_status import chain_status
from fdbpl.slurm.journal import read_journal
from fdbpl.slurm.start import start

pytestmark = pytest.mark.slurm

MakeChain = Callable[..., Chain]


def test_a_chain_finishes_and_a_second_submission_does_nothing(
    make_chain: MakeChain, slurm_cluster: Any, chains: Any
) -> None:
    chain = make_chain({"first": ["a", "b", "c"], "second": ["d"], "third": ["e", "f"]})
    placed = start(chain)
    assert {name: (one.submitted, one.attached) for name, one in placed.items()} == {
        "first": (["a", "b", "c"], []),
        "second": (["d"], []),
        "third": (["e", "f"], []),
    }
    assert chain_status(chain).standing == "running"
    status = chains.settled(chain)
    assert status.standing == "complete"
    assert chains.counts(status) == {"first": {"complete": 3}, "second": {"complete": 1}, "third": {"complete": 2}}
    assert {name for name in ("first", "second", "third") if (chain.folder / f"closed-{name}").exists()} == {
        "first",
        "second",
        "third",
    }
    jobs = slurm_cluster.ask("squeue", "-h", "-r", "-t", "all", "-o", "%i")

    assert chains.finish(chain).standing == "complete"
    assert slurm_cluster.ask("squeue", "-h", "-r", "-t", "all", "-o", "%i") == jobs
    assert set(chains.tries(chain).values()) == {1}


def test_deaths_are_made_good(make_chain: MakeChain, slurm_cluster: Any, chains: Any) -> None:
    chain = make_chain({"first": ["a", "once-b", "flaky-c", "once-d"], "second": ["once-e"], "third": ["f"]})
    status = chains.finish(chain)
    assert status.standing == "complete"
    assert chains.tries(chain) == {"a": 1, "once-b": 2, "flaky-c": 2, "once-d": 2, "once-e": 2, "f": 1}
    rounds = [submission.round for submission in read_journal(chain.paths("first")).submissions]
    assert rounds == [1, 2]
    assert "no luck at" in read_journal(chain.paths("first")).submissions[1].reasons["flaky-c"][1]


@pytest.mark.parametrize(
    ("task", "expected_tries", "cause"), [("bad-x", 2, "error"), ("wrong-x", 1, "input"), ("die-x", 3, "died")]
)
def test_a_task_that_always_fails_ends_the_chain_and_retry_completes_it(
    make_chain: MakeChain, slurm_cluster: Any, chains: Any, task: str, expected_tries: int, cause: str
) -> None:
    chain = make_chain({"first": ["a", task], "second": ["b"], "third": ["c"]})
    status = chains.finish(chain)
    assert status.standing == "failed"
    first = status.step("first")
    assert {found: [record.task_id for record in records] for found, records in first.causes.items()} == {cause: [task]}
    assert chains.tries(chain) == {"a": 1, task: expected_tries}
    assert slurm_cluster.ask("squeue", "-h", "-r") == ""

    (chain.folder / "mended").touch()
    status = chains.finish(chain)
    assert status.standing == "complete"
    assert chains.tries(chain) == {"a": 1, task: expected_tries + 1, "b": 1, "c": 1}


def test_what_closing_finds_amiss_is_made_again(make_chain: MakeChain, slurm_cluster: Any, chains: Any) -> None:
    chain = make_chain({"first": ["a", "b"], "second": ["c"]})
    (chain.folder / "spoils-first").write_text("first/b")
    assert chains.finish(chain).standing == "complete"
    assert chains.tries(chain) == {"a": 1, "b": 2, "c": 1}


def test_what_became_stale_is_made_anew(make_chain: MakeChain, slurm_cluster: Any, chains: Any) -> None:
    """As a report is once another student has been trained: it was finished when the run was submitted."""
    chain = make_chain({"first": ["a"], "second": ["b"], "third": ["c"]})
    assert chains.finish(chain).standing == "complete"
    longer = make_chain({"first": ["a", "new"], "second": ["b"], "third": ["c"]}, folder=chain.folder)
    (chain.folder / "closed-first").unlink()
    (chain.folder / "spoils-first").write_text("third/c")
    placed = start(longer)
    assert {name: one.submitted for name, one in placed.items()} == {"first": ["new"], "second": [], "third": []}
    assert chains.settled(longer).standing == "complete"
    assert chains.tries(chain) == {"a": 1, "new": 1, "b": 1, "c": 2}
