from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from fdbpl.slurm.chain import Chain
from fdbpl.slurm.held import RELEASES, release_held
from fdbpl.slurm.journal import Journal, Submission, write_journal
from fdbpl.slurm.queue import Queue
from fdbpl.slurm.resources import Resources


@pytest.mark.parametrize(
    ("reason", "is_released"),
    [("launch failed requeued held", True), ("launch_failed_requeued_held", True), ("JobHeldUser", False)],
)
def test_only_what_could_not_be_launched_is_released_a_few_times(
    make_chain: Callable[..., Chain], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str, is_released: bool
) -> None:
    chain = make_chain({"first": ["a", "b"]})
    submission = Submission(
        name="first-x",
        array="7",
        bundles=(("a",), ("b",)),
        round=1,
        attempts_before={"a": 0, "b": 0},
        resources=Resources(),
    )
    write_journal(chain.paths("first"), Journal(submissions=(submission,)))
    calls = tmp_path / "calls"
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in {
        "squeue": f"echo '7_0|PENDING|{reason}||first-x'; echo '7_1|PENDING|Resources||first-x'",
        "scontrol": f'echo "$@" >> {calls}',
    }.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    released: Counter[str] = Counter()
    for _ in range(RELEASES + 2):
        release_held(Queue(chain), released)
    said = calls.read_text().splitlines() if calls.exists() else []
    assert said == ["release 7_0"] * (RELEASES if is_released else 0)
