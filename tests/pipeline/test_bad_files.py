"""Every kind of bad file: found by the scan, named by every decoder, excluded on request; odd ones that work, work."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from bad_files import BAD, HEIGHT, JPEG, ODD, WIDTH, encoded, pixels, write_bad

from fdbpl.cache_layout.crops import CropPolicy
from fdbpl.pipeline.datasets.scan import scan_images
from fdbpl.pipeline.loading.decoder import Decoder, UnreadableImage, UnreadableImages, make_decoder
from fdbpl.pipeline.loading.windows import ComputedWindows, Pixels

# torchvision 0.29 announces that its decoder moves to TorchCodec.
pytestmark = pytest.mark.filterwarnings("ignore:The image decoding and encoding capabilities of TorchVision")


KINDS = {".jpg": "JPEG", ".png": "PNG"}


@pytest.fixture(scope="module", params=["pillow", "torchvision", "dali"])
def decoder(request: pytest.FixtureRequest) -> Decoder:
    return make_decoder(request.param)


@pytest.fixture
def mixed(tmp_path: Path) -> dict[str, str]:
    """Files of all kinds with good ones between them; what is said of each, "" of good ones."""
    said = {}
    for number, name in enumerate(BAD):
        said[name] = write_bad(tmp_path / name)
        said[f"good {number}.jpg"] = ""
        (tmp_path / f"good {number}.jpg").write_bytes(JPEG)
    for name, content in ODD.items():
        said[name] = ""
        (tmp_path / name).write_bytes(content)
    return said


def check_named(found: tuple[UnreadableImage, ...], said: dict[str, str]) -> None:
    """Each bad file is named once, at its place, with its reason; no good one is."""
    names = [Path(bad.path).name for bad in found]
    assert names == [name for name, reason in said.items() if reason]
    assert [bad.index for bad in found] == [list(said).index(name) for name in names]
    for bad in found:
        assert re.search(said[Path(bad.path).name], bad.reason), bad
        assert "\n" not in bad.reason and " at 0x" not in bad.reason


def test_there_are_enough_kinds() -> None:
    assert len(BAD) >= 20
    assert sum("cut" in name for name in BAD) >= 10


def test_the_scan_names_all_of_them_at_once(tmp_path: Path, mixed: dict[str, str]) -> None:
    with pytest.raises(UnreadableImages) as caught:
        scan_images(tmp_path, list(mixed), [0] * len(mixed))
    check_named(caught.value.images, mixed)
    assert all(str(bad) in str(caught.value) for bad in caught.value.images)


def test_the_scan_leaves_them_out_and_lists_them(tmp_path: Path, mixed: dict[str, str]) -> None:
    lines: list[str] = []
    index = scan_images(tmp_path, list(mixed), list(range(len(mixed))), bad_images="exclude", say=lines.append)
    good = [name for name, reason in mixed.items() if not reason]
    assert list(index.paths) == good
    assert index.labels_N.tolist() == [list(mixed).index(name) for name in good]
    assert index.sizes_N2[good.index("one pixel.jpg")].tolist() == [1, 1]
    assert index.digests_N32.any(axis=1).all()
    assert [path for path, _ in index.excluded] == [name for name in mixed if mixed[name]]
    assert all(re.search(mixed[path], reason) for path, reason in index.excluded)
    total = len(mixed)
    assert lines == [
        f"4 of {total} images are of kinds that Pillow decodes in every backend: 1 GIF, 1 16-bit PNG, 1 BMP, 1 WEBP",
        f"{len(index.excluded)} of {total} images cannot be read and are left out",
    ]


def test_every_decoder_names_all_of_them(decoder: Decoder, tmp_path: Path, mixed: dict[str, str]) -> None:
    with pytest.raises(UnreadableImages) as caught:
        decoder.center([tmp_path / name for name in mixed], 24)
    check_named(caught.value.images, mixed)


def test_what_goes_bad_after_the_scan_is_named_by_the_pass(decoder: Decoder, tmp_path: Path) -> None:
    names = [name for number, bad in enumerate(BAD) for name in (bad, f"good {number}.jpg")]
    for name in names:
        (tmp_path / name).write_bytes(JPEG)
    images = scan_images(tmp_path, names, [0] * len(names))
    cut = Pixels(decoder, tmp_path, images, ComputedWindows(CropPolicy(size=24), images))
    everything, seeds = np.arange(len(names)), np.zeros(len(names), np.int64)
    assert cut(everything, seeds, 24).shape == (len(names), 3, 24, 24)
    said = {name: write_bad(tmp_path / name) if name in BAD else "" for name in names}
    with pytest.raises(UnreadableImages) as caught:
        cut(everything, seeds, 24)
    # A new pass looks at the content too; both find the same.
    check_named(caught.value.images, said)
    again = Pixels(decoder, tmp_path, images, ComputedWindows(CropPolicy(size=24), images))
    with pytest.raises(UnreadableImages) as caught:
        again(everything, seeds, 24)
    check_named(caught.value.images, said)


def test_replaced_files_are_named_with_unreadable_ones(decoder: Decoder, tmp_path: Path) -> None:
    """One is another image of the same size, one is too small for its window, one is cut short, one is as it was."""
    names = ["other.jpg", "small.jpg", "cut.jpg", "good.jpg"]
    for name in names:
        (tmp_path / name).write_bytes(JPEG)
    images = scan_images(tmp_path, names, [0] * 4)
    (tmp_path / "other.jpg").write_bytes(JPEG[:-300] + JPEG[-302:])
    (tmp_path / "small.jpg").write_bytes(ODD["one pixel.jpg"])
    (tmp_path / "cut.jpg").write_bytes(JPEG[:-300])
    changed, cut = "its content is not what it was", "truncated"
    for chosen, reasons in (
        ([0, 1, 2, 3], {0: changed, 1: changed, 2: cut}),
        ([0, 1, 3], {0: changed, 1: changed}),
        ([1, 3], {1: changed}),
        ([0, 3], {0: changed}),
    ):
        cut = Pixels(decoder, tmp_path, images, ComputedWindows(CropPolicy(size=24), images))
        with pytest.raises(UnreadableImages) as caught:
            cut(np.array(chosen), np.zeros(len(chosen), np.int64), 24)
        assert [bad.index for bad in caught.value.images] == list(reasons)
        assert all(reasons[bad.index] in bad.reason for bad in caught.value.images)


def test_a_replaced_file_shows_by_its_size_where_digests_were_skipped(decoder: Decoder, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(JPEG)
    images = scan_images(tmp_path, ["a.jpg"], [0], digests=False)
    (tmp_path / "a.jpg").write_bytes(ODD["one pixel.jpg"])
    cut = Pixels(decoder, tmp_path, images, ComputedWindows(CropPolicy(size=24), images))
    with pytest.raises(UnreadableImages, match=f"found 1 high and 1 wide, expected {HEIGHT} and {WIDTH}"):
        cut(np.array([0]), np.array([0]), 24)


@pytest.mark.parametrize("name", ODD)
def test_odd_files_work_in_every_decoder(decoder: Decoder, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(ODD[name])
    found = decoder.center([path], 24)
    reference = make_decoder("pillow").center([path], 24)
    assert (found.int() - reference.int()).abs().max() <= 4
    if name.startswith("one pixel"):
        assert (found[0].flatten(1).float().std(dim=1) == 0).all()
        assert (found[0, :, 0, 0].int() - torch.tensor([200, 10, 10])).abs().max() <= 4
    assert scan_images(tmp_path, [name], [0]).sizes_N2.shape == (1, 2)


def test_what_one_backend_refuses_changes_no_other_image_of_its_batch(decoder: Decoder, tmp_path: Path) -> None:
    """DALI refuses garbage between segments, which Pillow reads: then each file of the batch is decoded by itself."""
    odd = "garbage between segments.jpg"
    paths = [tmp_path / name for name in ("1.jpg", odd, "2.jpg", "3.jpg", "4.png")]
    for number, path in enumerate(paths):
        path.write_bytes(ODD[odd] if path.name == odd else encoded(KINDS[path.suffix], pixels(number)))
    together = decoder.center(paths, 24)
    for path, found in zip(paths, together, strict=True):
        assert torch.equal(found, decoder.center([path], 24)[0])
    with pytest.raises(UnreadableImages) as caught:
        (tmp_path / "2.jpg").write_bytes(b"")
        decoder.center(paths, 24)
    assert [bad.index for bad in caught.value.images] == [2]


def test_a_failed_call_harms_no_later_one(decoder: Decoder, tmp_path: Path, mixed: dict[str, str]) -> None:
    good = [tmp_path / "good 0.jpg", tmp_path / "deep.png"]
    before = decoder.center(good, 24)
    with pytest.raises(UnreadableImages):
        decoder.center([tmp_path / name for name in mixed], 24)
    assert torch.equal(decoder.center(good, 24), before)


def test_a_scan_without_a_readable_image_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(UnreadableImages, match="1 of 1 images cannot be read"):
        scan_images(tmp_path, ["a.jpg"], [0], bad_images="exclude")
    assert len(scan_images(tmp_path, ["a.jpg"], [0], bad_images="exclude", may_be_empty=True)) == 0
