"""SPDL as a peer of the decoders: the windows are the right ones, its distance from Pillow is told, its absence too."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from multiprocessing import active_children
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

from fdbpl.pipeline.bench.decode import BACKENDS, DecodeParameters, bench_decode, make_images
from fdbpl.pipeline.bench.decode_peers.dataloader import BATCH, PLAIN, DataLoaderPeer
from fdbpl.pipeline.bench.decode_peers.peer import Missing
from fdbpl.pipeline.bench.decode_peers.spdl_peer import SpdlPeer
from fdbpl.pipeline.bench.decode_peers.views import SIDE, Views, from_pillow, random_views
from fdbpl.pipeline.commands.bench import _show_decode
from fdbpl.pipeline.loading.decoder import make_decoder
from fdbpl.pipeline.progress import Ui

MISSING = SpdlPeer().missing()
needs_spdl = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def spdl_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spdl.io.utils", None)


def parameters(*backends: str) -> DecodeParameters:
    return DecodeParameters(
        backends=backends, sizes=((60, 40),), crops=(1, 2), device="cpu", workers=1, num_images=2, seconds=0.01
    )


def crops_of(views: Views) -> dict[str, Callable[[], Tensor]]:
    with ExitStack() as stack:
        return {way.workload: way.crops for way in SpdlPeer().ways(views, stack) if way.crops}


@needs_spdl
@pytest.mark.parametrize(("num_crops", "workloads"), [(1, ["once"]), (4, ["once", "each"])])
def test_spdl_cuts_the_windows_that_were_asked_for(
    tmp_path: Path, two_threads: None, num_crops: int, workloads: list[str]
) -> None:
    views = random_views(make_images(tmp_path, (250, 180), 6), (250, 180), num_crops)
    assert set(views.flips_B.tolist()) == {False, True}
    assert {tuple(corner) for corner in (views.boxes_B4[:, :2] % 2).tolist()} == {(0, 0), (0, 1), (1, 0), (1, 1)}
    mirrored = replace(views, flips_B=~views.flips_B)
    found = crops_of(views)
    assert list(found) == workloads
    for cut in found.values():
        crops_BCHW = cut()
        assert (crops_BCHW.dtype, tuple(crops_BCHW.shape)) == (torch.uint8, (6 * num_crops, 3, SIDE, SIDE))
        # A window that is off by one pixel is at 5 levels, one whose colour is, at 3.3 to 4.
        assert from_pillow(crops_BCHW, views)[0] < 3
        assert from_pillow(crops_BCHW, mirrored)[0] > 30


@needs_spdl
def test_the_bench_tells_how_far_the_pixels_of_spdl_are(tmp_path: Path) -> None:
    results = bench_decode(parameters("spdl"), tmp_path, Ui(quiet=True))
    rows = [(row["workload"], row["crops_per_image"]) for row in results["results"] if row["backend"] == "spdl"]
    assert rows == [("once", 1), ("once", 2), ("each", 2)]
    assert [note.partition(":")[0] for note in results["notes"]] == [
        f"spdl, {workload}, {num_crops} crops of 60x40" for workload, num_crops in rows
    ]
    assert results["skipped"] == []


def test_a_loader_works_during_its_turns_only(tmp_path: Path) -> None:
    views = random_views(make_images(tmp_path, (60, 40), 2), (60, 40), 1)
    with ExitStack() as stack:
        (way,) = DataLoaderPeer(PLAIN, workers=2).ways(views, stack)
        for _ in range(2):
            way.before()
            assert len(active_children()) == 2
            assert way.take() == 2 * BATCH
            way.after()
            assert not active_children()
        way.before()
    assert not active_children()


def test_without_spdl_it_is_skipped(tmp_path: Path, spdl_hidden: None, capsys: pytest.CaptureFixture[str]) -> None:
    results = bench_decode(parameters("pillow", "spdl"), tmp_path, Ui(quiet=True))
    assert results["skipped"] == [
        {"backend": "spdl", "reason": "spdl is not installed", "install": "pip install 'fdbpl[bench]'"}
    ]
    assert results["notes"] == []
    assert {row["backend"] for row in results["results"] if "DataLoader" not in row["backend"]} == {"pillow"}
    _show_decode(results)
    assert "spdl was skipped: spdl is not installed; pip install 'fdbpl[bench]'" in capsys.readouterr().out


def test_without_ffmpeg_spdl_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("Failed to import libspdl.")

    utils = ModuleType("spdl.io.utils")
    utils.get_ffmpeg_versions = fail  # type: ignore[attr-defined]  # stands in for the real module
    monkeypatch.setitem(sys.modules, "spdl.io.utils", utils)
    assert SpdlPeer().missing() == Missing(
        reason="spdl finds no shared libraries of FFmpeg", install="apt-get install ffmpeg"
    )


def test_a_backend_that_nobody_has_is_refused(tmp_path: Path) -> None:
    assert BACKENDS == ("torchvision", "dali", "pillow", "spdl")
    with pytest.raises(ValueError, match="unknown decoder 'ffcv'"):
        bench_decode(parameters("ffcv"), tmp_path, Ui(quiet=True))


def test_distance_from_pillow_is_the_mean_and_the_largest(tmp_path: Path) -> None:
    views = random_views(make_images(tmp_path, (60, 40), 2), (60, 40), 2)
    crops_BCHW = make_decoder("pillow").windows(views.paths, views.image_B, views.boxes_B4, views.flips_B, SIDE)
    assert from_pillow(crops_BCHW, views) == (0.0, 0)
    changed_BCHW = crops_BCHW.clone()
    pixel, other = int(crops_BCHW[0, 0, 0, 0]), int(crops_BCHW[3, 2, 5, 7])
    changed_BCHW[0, 0, 0, 0] = pixel + 9 if pixel < 128 else pixel - 9
    changed_BCHW[3, 2, 5, 7] = other + 3 if other < 128 else other - 3
    assert from_pillow(changed_BCHW, views) == (12 / (4 * 3 * SIDE * SIDE), 9)
    with pytest.raises(ValueError, match="crops: found the shape"):
        from_pillow(crops_BCHW[:3], views)
