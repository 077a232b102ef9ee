"""The comparison of decoders finds what differs, and the checks of a GPU run where there is none."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fdbpl.pipeline.bench import agreement, gpu_check
from fdbpl.pipeline.bench.agreement import SHIFTED, AgreementParameters, bench_agreement
from fdbpl.pipeline.bench.gpu_check import GpuParameters, bench_gpu
from fdbpl.pipeline.bench.kernel_cases import CASES, Size, Way
from fdbpl.pipeline.bench.varied_images import KINDS, LARGEST, SMALLEST, make_varied_images
from fdbpl.pipeline.loading.decoder import Decoder, make_decoder
from fdbpl.pipeline.progress import Ui

pytestmark = pytest.mark.filterwarnings("ignore:The image decoding and encoding capabilities of TorchVision")
TINY = "fdbpl-tiny-teacher"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("agreement")


def test_the_files_are_of_every_kind_and_size(folder: Path) -> None:
    images = make_varied_images(folder / "varied", 28, 3)
    assert set(images.kinds) == set(KINDS)
    with Image.open(images.paths[list(images.kinds).index("cmyk")]) as image:
        assert image.mode == "CMYK"
    sizes = []
    for number, path in enumerate(images.paths):
        with Image.open(path) as image:
            sizes += image.size
            assert ("progressive" in image.info) == (images.kinds[number] == "progressive")
            top, left, height, width = images.boxes_B4[images.image_B == number].T
            assert (top + height).max() <= image.height and (left + width).max() < image.width, "one column is free"
    assert SMALLEST <= min(sizes) < 120 and 1500 < max(sizes) <= LARGEST
    part = images.part(range(5, 7))
    assert part.paths == images.paths[5:7] and part.image_B.tolist() == [0] * 3 + [1] * 3
    assert np.array_equal(part.boxes_B4, images.boxes_B4[15:21])


def test_all_decoders_agree_and_a_shifted_window_does_not(folder: Path) -> None:
    # The features of a tiny CLIP at 48 pixels are far more sensitive than those that the bound is for.
    results = bench_agreement(AgreementParameters(num_images=28, num_windows=3, model=TINY), folder, Ui(quiet=True))
    rows = {row["backend"]: row for row in results["results"]}
    assert set(rows) == {"torchvision", "dali", SHIFTED}
    for name in ("torchvision", "dali"):
        assert rows[name]["crops"] == 84
        assert rows[name]["largest_mean_difference"] < 0.3 and rows[name]["largest_difference"] <= 4
    assert rows[SHIFTED]["largest_mean_difference"] > 3 and not rows[SHIFTED]["agrees"]
    assert rows[SHIFTED]["largest_feature_difference"] > 20 * rows["torchvision"]["largest_feature_difference"]


def test_one_wrong_pixel_in_one_crop_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def make_wrong(name: str, device: str = "cpu") -> Decoder:
        decoder: Any = make_decoder("pillow", device)
        if name != "pillow":
            right = decoder.windows

            def windows(paths: Sequence[Path], *views: Any) -> torch.Tensor:
                crops: torch.Tensor = right(paths, *views)
                crops[-1, 0, 0, 0] ^= 8
                return crops

            decoder.windows = windows
        return decoder  # type: ignore[no-any-return]

    monkeypatch.setattr(agreement, "make_decoder", make_wrong)
    parameters = AgreementParameters(backends=("wrong",), num_images=7, num_windows=2, model=TINY)
    row = bench_agreement(parameters, folder, Ui(quiet=True))["results"][0]
    assert (row["backend"], row["largest_difference"], row["agrees"]) == ("wrong", 8, False)


def test_the_checks_of_a_gpu_run_on_a_cpu_too(folder: Path) -> None:
    parameters = GpuParameters(
        device="cpu",
        num_images=14,
        model=TINY,
        student=TINY,
        teachers=((TINY, "fp32", False),),
        pass_images=8,
        seeds=2,
        batch_size=8,
        kernel_sizes=((3, 7),),
        training=(),
    )
    results = bench_gpu(parameters, folder, Ui(quiet=True))["results"]
    assert all(set(row) == {"check", "found", "bound", "passed"} for row in results)
    found = {row["check"]: row for row in results}
    for name in ("dali", "torchvision"):
        assert found[f"{name}: values that a crop has otherwise in another batch"]["found"] == 0
    waits = {name: row["found"] for name, row in found.items() if "waits" in name}
    assert waits == dict.fromkeys(waits, "none") and len(waits) == 5
    assert sum("share of the forward pass" in name for name in found) == 1
    for kernel in CASES:
        assert found[f"{kernel}, 3 crops, 7 classes: difference"]["passed"]
        assert found[f"{kernel}, 3 crops, 7 classes: us"]["found"] > 0


def test_a_kernel_that_gives_something_else_fails_its_check(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(size: Size) -> dict[str, Way]:
        return {"eager": lambda: [torch.ones(3)], "fused": lambda: [torch.tensor([1.0, 1.0, 1.01])]}

    monkeypatch.setattr(gpu_check, "CASES", {"wrong": wrong})
    parameters = GpuParameters(device="cpu", kernel_sizes=((3, 7),))
    (row,) = gpu_check._kernels(parameters, folder, Ui(quiet=True))
    assert (row["check"], row["found"], row["passed"]) == ("wrong, 3 crops, 7 classes: difference", 0.01, False)


def test_without_a_gpu_the_check_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="no usable GPU"):
        bench_gpu(GpuParameters(), folder, Ui(quiet=True))
