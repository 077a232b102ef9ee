"""The benches of loading, in small: every way is there, ratios are of the same round, files are written."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fdbpl.pipeline.bench import turns
from fdbpl.pipeline.bench.decode import DecodeParameters, bench_decode, make_images, size_of
from fdbpl.pipeline.bench.decode_peers.dataloader import PLAIN, PUBLIC
from fdbpl.pipeline.bench.simple_output import simple_table, write_simple
from fdbpl.pipeline.bench.teacher import FORWARD, PASS, TeacherParameters, bench_teacher
from fdbpl.pipeline.bench.turns import take_turns
from fdbpl.pipeline.progress import Ui


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Time that passes when it is told to."""
    now = [0.0]
    monkeypatch.setattr(turns.time, "perf_counter", lambda: now[0])

    def pass_by(seconds: float) -> None:
        now[0] += seconds

    return pass_by


def test_rates_are_of_what_each_did_in_its_turn(clock: Callable[[float], None]) -> None:
    speeds = iter([1.0] * 6)  # the machine slows down after the first round
    calls: list[str] = []

    def way(name: str, units: int) -> Callable[[], int]:
        def work() -> int:
            calls.append(name)
            clock(next(speeds, 4.0))
            return units

        return work

    told: list[tuple[int, int]] = []
    rates = take_turns(
        {"slow": way("slow", 1), "fast": way("fast", 3)},
        seconds=1.5,
        num_rounds=2,
        on_progress=lambda done, total: told.append((done, total)),
        before={"fast": lambda: calls.append("before fast")},
        after={"slow": lambda: calls.append("after slow")},
    )
    assert rates.ratio("fast", "slow") == pytest.approx(3.0)
    assert calls[:3] == ["slow", "after slow", "fast"], "once each, not counted"
    assert calls[-3:] == ["after slow", "before fast", "fast"]
    assert (calls.count("before fast"), calls.count("after slow")) == (2, 3)
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_every_way_of_decoding_is_measured(tmp_path: Path, one_thread: None) -> None:
    parameters = DecodeParameters(
        backends=("torchvision", "pillow"), sizes=((60, 40),), crops=(1, 3), workers=1, num_images=2, seconds=0.01
    )
    results = bench_decode(parameters, tmp_path, Ui(quiet=True))
    found = [(row["backend"], row["workload"], row["crops_per_image"]) for row in results["results"]]
    loaders = [(name, "each") for name in (PUBLIC, PLAIN)]
    assert found == [
        *((*loader, 1) for loader in loaders),
        ("torchvision", "once", 1),
        ("pillow", "once", 1),
        *((*loader, 3) for loader in loaders),
        ("torchvision", "once", 3),
        ("torchvision", "each", 3),
        ("pillow", "once", 3),
        ("pillow", "each", 3),
    ]
    assert [row["ratio_to_pillow"] for row in results["results"] if row["backend"] == PUBLIC] == [1.0, 1.0]
    assert set(results["results"][0]) == {
        "backend",
        "workload",
        "image_size",
        "workers",
        "crops_per_image",
        "crops_per_s",
        "ratio_to_pillow",
    }
    assert results["skipped"] == results["notes"] == []
    assert torch.get_num_threads() == 1
    write_simple(tmp_path / "out", results, value="crops_per_s", names=("backend", "workload"))
    assert json.loads((tmp_path / "out" / "results.json").read_text())["results"] == results["results"]
    assert len((tmp_path / "out" / "results.csv").read_text().splitlines()) == 1 + len(found)
    assert (tmp_path / "out" / "rates.svg").read_text().startswith("<?xml")
    assert simple_table(results).row_count == len(found)


def test_the_teacher_pass_is_measured_beside_its_forward_pass(tmp_path: Path, one_thread: None) -> None:
    parameters = TeacherParameters(
        model="fdbpl-tiny-teacher", num_images=3, num_seeds=2, batch_size=4, device="cpu", num_rounds=2
    )
    results = bench_teacher(parameters, tmp_path, Ui(quiet=True))
    assert [row["name"] for row in results["results"]] == [FORWARD, PASS]
    assert results["results"][0]["share_of_forward"] == 1.0
    assert results["results"][1]["views_per_s"] > 0
    assert (tmp_path / "run" / "store.zarr" / "records").is_dir()


def test_test_images_are_as_large_as_said_and_made_once(tmp_path: Path) -> None:
    paths = make_images(tmp_path, (64, 48), 2)
    pixels = []
    for path in paths:
        with Image.open(path) as image:
            assert image.size == (64, 48)
            pixels.append(np.asarray(image))
    assert not np.array_equal(*pixels)
    before = [path.stat().st_mtime_ns for path in paths]
    assert [path.stat().st_mtime_ns for path in make_images(tmp_path, (64, 48), 2)] == before


@pytest.mark.parametrize("text", ["", "500", "500x", "0x3", "axb", "5x5x5"])
def test_a_size_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected WIDTHxHEIGHT"):
        size_of(text)


@pytest.mark.parametrize(("num_images", "num_seeds"), [(2, 256), (32, 16)])
def test_pixels_take_no_more_memory_than_said_whatever_the_number_of_crops(
    num_images: int, num_seeds: int, tmp_path: Path
) -> None:
    parameters = TeacherParameters(
        model="fdbpl-tiny-teacher",
        num_images=num_images,
        num_seeds=num_seeds,
        batch_size=64,
        device="cpu",
        decoder="torchvision",
        num_rounds=1,
    )
    memory = bench_teacher(parameters, tmp_path, Ui(quiet=True))["memory"]
    assert 0 <= memory["growth_bytes"] <= memory["bound_bytes"] < 80e6
