"""The bench of kernels, in small: every way of every kernel is there; one that gives something else is refused."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from fdbpl.kernels.ranking import difference_ranking
from fdbpl.pipeline.bench import kernel_cases
from fdbpl.pipeline.bench.kernel_cases import CASES, Size, ranking_by_loop
from fdbpl.pipeline.bench.kernels import KernelParameters, bench_kernels
from fdbpl.pipeline.progress import Ui


def test_every_kernel_is_measured_beside_its_reference(tmp_path: Path, call: Any) -> None:
    sizes = ("--batch", "3,5", "--classes", "7", "--seconds", "0", "--rounds", "1", "--device", "cpu")
    answer = call("bench", "kernels", *sizes, "--out", str(tmp_path / "out"), "--json")
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)
    assert [(row["kernel"], row["batch"], row["way"]) for row in found["results"]] == [
        (kernel, batch, way)
        for kernel in CASES
        for batch in (3, 5)
        for way in CASES[kernel](Size(batch=2, classes=2, device="cpu"))
    ]
    references = {kernel: next(iter(CASES[kernel](Size(batch=2, classes=2, device="cpu")))) for kernel in CASES}
    for row in found["results"]:
        assert set(row) == {"kernel", "way", "batch", "classes", "us", "ratio_to_reference"}
        assert row["us"] > 0 and row["ratio_to_reference"] > 0 and row["classes"] == 7
        assert row["ratio_to_reference"] == 1.0 or row["way"] != references[row["kernel"]]
    assert found["parameters"]["batches"] == [3, 5] and found["machine"]["device"] == "cpu" and found["threads"] > 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"results.json", "results.csv", "rates.svg"}


@pytest.mark.parametrize("wrong", ["value", "gradient"])
def test_a_way_that_gives_something_else_is_refused(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def off(projections: torch.Tensor, *rest: Any) -> torch.Tensor:
        right = difference_ranking(projections, *rest)
        return right + 0.01 if wrong == "value" else right + 0.01 * (right - right.detach())

    monkeypatch.setattr(kernel_cases, "difference_ranking", off)
    parameters = KernelParameters(kernels=("difference ranking",), batches=(4,), classes=(9,), device="cpu", seconds=0)
    with pytest.raises(ValueError, match=r"difference ranking, closed form, batch 4, 9 classes: found values or"):
        bench_kernels(parameters, Ui(quiet=True))


def test_the_double_loop_is_the_definition() -> None:
    """Two crops of unlike classes: one pair, by hand; and like ones, which are no pair."""
    projections = torch.tensor([[0.3, 0.1], [0.2, 0.25]])
    weights = torch.tensor([0.5, 0.4])
    # The gap is (.3 - .1) - (.2 - .25).
    assert ranking_by_loop(projections, torch.tensor([0, 1]), weights, 0.9).item() == pytest.approx(0.2 * (0.9 - 0.25))
    assert ranking_by_loop(projections, torch.tensor([1, 1]), weights).item() == 0.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernels": ("kdpl", "unknown")}, "kernels: found kdpl, unknown, expected some of"),
        ({"kernels": ()}, "kernels: found none"),
        ({"batches": (0,)}, "batches: found .* expected numbers from 1 on"),
        ({"classes": (16, 1)}, "classes: found .* expected numbers from 2 on"),
    ],
)
def test_what_cannot_be_measured_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        KernelParameters(**options)


def test_kernels_md_names_every_kernel_and_a_command_that_runs(call: Any) -> None:
    text = (Path(__file__).parents[3] / "docs" / "kernels.md").read_text()
    head = text.partition("\n## Measured")[0]
    named = [name for row in re.findall(r"^\| (`.*?) \|", head, re.MULTILINE) for name in re.findall(r"`(.*?)`", row)]
    assert named == list(CASES)
    (command,) = re.findall(r"^\$ fdbpl (.*)$", text, re.MULTILINE)
    quick = ("--kernels", "kdpl", "--seconds", "0", "--rounds", "1", "--device", "cpu", "--json")
    answer = call(*command.split(), *quick)
    assert answer.returncode == 0 and len(json.loads(answer.stdout)["results"]) == 2 * 2 * 4


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_device_too() -> None:
    found = bench_kernels(
        KernelParameters(batches=(32,), classes=(100, 20930), device="cuda", seconds=0), Ui(quiet=True)
    )
    assert len({row["kernel"] for row in found["results"]}) == len(CASES)
