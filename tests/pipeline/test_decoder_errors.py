"""Bad files are named on every backend and harm no other; windows that do not fit are refused before decoding."""

import io
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fdbpl.pipeline.loading.decoder import Decoder, UnreadableImages, make_decoder

# torchvision 0.29 announces that its decoder moves to TorchCodec.
pytestmark = pytest.mark.filterwarnings("ignore:The image decoding and encoding capabilities of TorchVision")


@pytest.fixture(scope="module", params=["pillow", "torchvision", "dali"])
def decoder(request: pytest.FixtureRequest) -> Decoder:
    return make_decoder(request.param)


def image_bytes(kind: str) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(4).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def with_huge_size(data: bytes) -> bytes:
    """The same PNG file, whose header promises 60000 x 60000 pixels."""
    header = b"IHDR" + struct.pack(">II", 60000, 60000) + data[24:29]
    return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]


BAD_FILES: dict[str, bytes] = {
    "noise.jpg": np.random.default_rng(6).integers(0, 256, 3000, dtype=np.uint8).tobytes(),
    "text.jpg": b"<html>not found</html>",
    "empty.jpg": b"",
    "huge.png": with_huge_size(image_bytes("PNG")),
    "cut.png": image_bytes("PNG")[:9000],
    **{
        f"cut at {percent}%.jpg": image_bytes("JPEG")[: len(image_bytes("JPEG")) * percent // 100]
        for percent in (1, 20, 50, 98)
    },
    "last byte lost.jpg": image_bytes("JPEG")[:-1],
}


@pytest.mark.parametrize("name", [*BAD_FILES, "folder.jpg", "missing.jpg"])
def test_a_bad_file_is_named_and_the_others_are_unharmed(decoder: Decoder, name: str, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.jpg", tmp_path / name
    good.write_bytes(image_bytes("JPEG"))
    if name in BAD_FILES:
        bad.write_bytes(BAD_FILES[name])
    elif name.startswith("folder"):
        bad.mkdir()
    before = decoder.center([good], 32)
    with pytest.raises(UnreadableImages) as caught:
        decoder.center([good, good, bad, good], 32)
    (named,) = caught.value.images
    assert (named.index, named.path) == (2, bad)
    assert named.reason
    assert f"image 2 ({bad}) cannot be read: " in str(caught.value)
    assert torch.equal(decoder.center([good], 32), before)


def test_dali_gets_a_new_pipeline_after_an_error(tmp_path: Path) -> None:
    decoder: Any = make_decoder("dali")
    (tmp_path / "good.jpg").write_bytes(image_bytes("JPEG"))
    (tmp_path / "cut.jpg").write_bytes(image_bytes("JPEG")[:-200])
    decoder.center([tmp_path / "good.jpg"], 32)
    before = decoder._pipeline
    with pytest.raises(UnreadableImages):
        decoder.center([tmp_path / "cut.jpg"], 32)
    decoder.center([tmp_path / "good.jpg"], 32)
    assert decoder._pipeline is not before


def test_a_file_cut_short_below_the_window_is_refused(decoder: Decoder, tmp_path: Path) -> None:
    path = tmp_path / "cut.jpg"
    path.write_bytes(image_bytes("JPEG")[:-200])
    with pytest.raises(UnreadableImages, match=r"image 0 .*truncated"):
        decoder.windows([path], np.array([0]), np.array([[0, 0, 16, 16]]), np.array([False]), 16)


@pytest.mark.parametrize(
    ("image_B", "boxes_B4", "flips_B", "size", "message"),
    [
        (
            [0, 1],
            [[0, 0, 9, 9], [0, 1, 120, 160]],
            [0, 0],
            8,
            r"window 1 \(top 0, left 1, height 120, width 160\).*image 1",
        ),
        ([0, 1], [[0, 0, 9, 9], [-1, 0, 5, 5]], [0, 0], 8, "window 1 .*120 high and 160 wide"),
        ([0], [[0, 0, 0, 5]], [0], 8, "window 0 .*height 0"),
        ([2], [[0, 0, 5, 5]], [0], 8, "window 0 is of image 2, but 2 paths"),
        ([-1], [[0, 0, 5, 5]], [0], 8, "window 0 is of image -1"),
        ([0], [[0.0, 0.0, 5.0, 5.0]], [0], 8, "boxes_B4 must hold integers"),
        ([0, 1], [[0, 0, 5, 5]], [0, 0], 8, "equally many windows"),
        ([0], [[0, 0, 5, 5]], [0, 0], 8, "equally many windows"),
        ([0], [[0, 0, 5, 5]], [0], 0, "at least 1 pixel; found 0"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_before_decoding(
    decoder: Decoder, tmp_path: Path, image_B: Any, boxes_B4: Any, flips_B: Any, size: int, message: str
) -> None:
    path = tmp_path / "cut.jpg"
    path.write_bytes(image_bytes("JPEG")[:-100])  # decoding it would raise UnreadableImages
    with pytest.raises(ValueError, match=message) as caught:
        decoder.windows([path, path], np.array(image_B), np.array(boxes_B4), np.array(flips_B), size)
    assert not isinstance(caught.value, UnreadableImages)


def test_an_unknown_decoder_is_refused() -> None:
    with pytest.raises(ValueError, match=r"unknown decoder 'pilow'; there are auto, pillow, torchvision, dali"):
        make_decoder("pilow")


def test_missing_dali_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "fdbpl.pipeline.loading.dali_decoder", raising=False)
    for module in ("nvidia.dali", "nvidia.dali.fn", "nvidia.dali.types"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ValueError, match="pip install nvidia-dali-cuda130"):
        make_decoder("dali")
