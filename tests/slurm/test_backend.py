from pathlib import Path
from typing import Any

import pytest

from fdbpl.slurm.backend import make_backend
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
    backend = make_backend("auto", parameters={"slurm_partition": "all"})
    assert backend.name == "slurm"
    assert backend.reason.startswith("Slurm answers: Slurmctld(primary) at ")
    slurm_cluster.kill("slurmctld")
    backend = make_backend("auto")
    assert backend.name == "local"
    assert backend.reason.startswith("no Slurm here: ")
