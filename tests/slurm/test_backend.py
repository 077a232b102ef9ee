from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fdbpl.slurm.backend import make_backend
from fdbpl.slurm.chain import Chain
from fdbpl.slurm.errors import SlurmError


def test_local_is_what_was_asked_for() -> None:
    backend = make_backend("local", max_workers=3)
    assert (backend.name, backend.reason) == ("local", "asked for")


def test_auto_without_slurm_is_local_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    backend = make_backend("auto")
    assert (backend.name, backend.reason) == ("local", "no Slurm here: sbatch is not on PATH")


def test_slurm_without_slurm_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SlurmError, match="sbatch is not on PATH; use the local backend"):
        make_backend("slurm")


def test_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="found 'pbs', expected 'auto', 'local' or 'slurm'"):
        make_backend("pbs")  # type: ignore[arg-type]


@pytest.mark.slurm
def test_auto_with_a_controller_is_slurm_until_it_dies(slurm_cluster: Any) -> None:
    backend = make_backend("auto")
    assert backend.name == "slurm"
    assert backend.reason.startswith("Slurm answers: Slurmctld(primary) at ")
    assert make_backend("slurm").reason == "asked for"
    slurm_cluster.kill("slurmctld")
    backend = make_backend("auto")
    assert backend.name == "local"
    assert backend.reason.startswith("no Slurm here: ")
    with pytest.raises(SlurmError, match="Slurm cannot be used from here"):
        make_backend("slurm")


@pytest.mark.slurm
def test_both_backends_run_a_chain_to_its_end(
    make_chain: Callable[..., Chain], slurm_cluster: Any, tmp_path: Path
) -> None:
    for kind in ("local", "slurm"):
        chain = make_chain({"first": ["a"], "second": ["b"]}, folder=tmp_path / kind)
        seen: set[str] = set()
        backend = make_backend(kind, max_workers=1)  # type: ignore[arg-type]
        status = backend.run(chain, on_update=lambda status, seen=seen: seen.add(status.stage))  # type: ignore[misc]
        assert (status.standing, seen) == ("complete", {"first", "second"})
