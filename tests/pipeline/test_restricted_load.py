"""Checkpoints of others are read without running what they hold."""

import builtins
import os
import pickle
import subprocess
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fdbpl.pipeline.use.restricted_load import LeftOut, load_checkpoint


class Runs:
    """Rebuilt by calling a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def test_a_checkpoint_with_optimiser_scheduler_and_numbers_is_read(tmp_path: Path) -> None:
    path = tmp_path / "model.pth.tar-50"
    weight = torch.nn.Parameter(torch.arange(6.0).reshape(2, 3))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
    saved = {
        "state_dict": OrderedDict(ctx=weight.detach().half(), token_prefix=torch.ones(1, dtype=torch.int64)),
        "epoch": 50,
        "optimizer": optimizer.state_dict(),
        "scheduler": {"successor": scheduler, "last": [1, 2]},
        "val_result": np.float32(81.25),
        "exact": np.float64(0.1),
    }
    torch.save(saved, path)
    found = load_checkpoint(path)
    assert torch.equal(found["state_dict"]["ctx"].float(), weight)
    assert found["state_dict"]["token_prefix"].tolist() == [1]
    assert (found["epoch"], float(found["val_result"]), float(found["exact"])) == (50, 81.25, 0.1)
    assert isinstance(found["scheduler"]["successor"], LeftOut) and found["scheduler"]["last"] == [1, 2]
    assert found["optimizer"]["param_groups"][0]["lr"] == 0.1


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (os.system, ("touch HACKED",)),
        (subprocess.check_call, (["touch", "HACKED"],)),
        (builtins.eval, ("open('HACKED', 'w')",)),
        (builtins.getattr, ("a string", "upper")),
        (builtins.__import__, ("antigravity",)),
        (torch.load, ("HACKED",)),
        (pickle.loads, (b"cos\nsystem\n(S'touch HACKED'\ntR.",)),
    ],
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_what_would_run_something_is_refused_by_its_name(
    protocol: int, function: Any, arguments: tuple[Any, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.pth.tar"
    torch.save({"state_dict": {"ctx": Runs(function, *arguments)}}, path, pickle_protocol=protocol)
    with pytest.raises(ValueError, match=rf"refused, for it asks for [\w.]+\.{function.__name__}, which"):
        load_checkpoint(path)
    assert not (tmp_path / "HACKED").exists()


def test_a_container_that_would_run_something_is_refused(tmp_path: Path) -> None:
    torch.save({"state": defaultdict(os.system)}, tmp_path / "c.pt")
    with pytest.raises(ValueError, match=r"posix\.system"):
        load_checkpoint(tmp_path / "c.pt")


@pytest.mark.parametrize("content", [b"", b"no zip", pickle.dumps(Runs(os.system, "touch HACKED"))])
def test_a_file_that_is_no_zip_is_refused(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.pt").write_bytes(content)
    with pytest.raises(ValueError, match=r"found no zip file"):
        load_checkpoint(tmp_path / "c.pt")
    assert not (tmp_path / "HACKED").exists()


def test_another_zip_and_another_object_are_told(tmp_path: Path) -> None:
    torch.save([torch.ones(2)], tmp_path / "list.pt")
    with pytest.raises(ValueError, match="found a list, expected a checkpoint"):
        load_checkpoint(tmp_path / "list.pt")
    torch.save({"a": torch.ones(1000)}, tmp_path / "cut.pt")
    content = (tmp_path / "cut.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(content.replace(b"data.pkl", b"data.abc"))
    with pytest.raises(ValueError, match="found no readable checkpoint"):
        load_checkpoint(tmp_path / "cut.pt")
    with pytest.raises(ValueError, match="found no file"):
        load_checkpoint(tmp_path / "absent.pt")
