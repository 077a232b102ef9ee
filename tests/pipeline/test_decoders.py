"""Every backend against Pillow on the same windows; one decode for all windows of an image."""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from open_clip.transform import image_transform
from PIL import Image

from fdbpl.pipeline.loading import pillow_decoder, torchvision_decoder
from fdbpl.pipeline.loading.decoder import Decoder, make_decoder

# torchvision 0.29 announces that its decoder moves to TorchCodec.
pytestmark = pytest.mark.filterwarnings("ignore:The image decoding and encoding capabilities of TorchVision")

BACKENDS = ["pillow", "torchvision", "dali"]
MAX_MEAN, MAX_DIFFERENCE = 0.3, 4
WINDOWS_PER_IMAGE = 4
SIZE = 96


@pytest.fixture(scope="module", params=BACKENDS)
def decoder(request: pytest.FixtureRequest) -> Decoder:
    return make_decoder(request.param)


def noisy_image(rng: np.random.Generator, height: int, width: int) -> Image.Image:
    """Soft shapes with grain: a shift by one pixel shows everywhere."""
    soft = Image.fromarray(rng.integers(0, 256, (height // 12 + 2, width // 12 + 2, 3), dtype=np.uint8))
    pixels = np.asarray(soft.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32)
    pixels = pixels + 12 * rng.standard_normal((height, width, 3), dtype=np.float32)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def rotated() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


Save = Callable[[Image.Image, Path], None]
KINDS: dict[str, Save] = {
    "plain.jpg": lambda image, path: image.save(path, quality=90),
    "full_chroma.jpg": lambda image, path: image.save(path, quality=95, subsampling="4:4:4"),
    "progressive.jpg": lambda image, path: image.save(path, progressive=True),
    "grey.jpg": lambda image, path: image.convert("L").save(path),
    "cmyk.jpg": lambda image, path: image.convert("CMYK").save(path),
    "exif.jpg": lambda image, path: image.save(path, exif=rotated()),
    "rgba.png": lambda image, path: with_alpha(image).save(path),
    "palette.png": lambda image, path: image.quantize(64).save(path),
    "clear_palette.png": lambda image, path: image.quantize(64).save(path, transparency=bytes(range(64))),
    "grey_alpha.png": lambda image, path: with_alpha(image).convert("LA").save(path),
}


def with_alpha(image: Image.Image) -> Image.Image:
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Files, and WINDOWS_PER_IMAGE windows of each: any two, the whole, one flush with the lower right corner."""

    paths: list[Path]
    image_B: NDArray[np.int64]
    boxes_B4: NDArray[np.int32]
    flips_B: NDArray[np.bool_]

    def windows(self, decoder: Decoder, shift: int = 0) -> torch.Tensor:
        boxes_B4 = self.boxes_B4 + np.array([0, shift, 0, 0], dtype=np.int32)
        return decoder.windows(self.paths, self.image_B, boxes_B4, self.flips_B, SIZE)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    folder, rng = tmp_path_factory.mktemp("varied images"), np.random.default_rng(5)
    paths, boxes = [], []
    for number in range(6):
        for kind, save in KINDS.items():
            height, width = rng.integers(60, 701, 2).tolist()
            path = folder / f"{number} {kind}"
            save(noisy_image(rng, height, width), path)
            paths.append(path)
            boxes += [*(any_window(rng, height, width) for _ in range(2)), (0, 0, height, width)]
            boxes.append((height - 37, width - 41, 37, 41))
    count = len(boxes)
    return Sample(
        paths=paths,
        image_B=np.repeat(np.arange(len(paths)), WINDOWS_PER_IMAGE),
        boxes_B4=np.array(boxes, dtype=np.int32),
        flips_B=rng.integers(0, 2, count).astype(np.bool_),
    )


def any_window(rng: np.random.Generator, height: int, width: int) -> tuple[int, int, int, int]:
    """A window that leaves a column free at its right."""
    h, w = int(rng.integers(24, height)), int(rng.integers(24, width - 1))
    return int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w)), h, w


@pytest.fixture(scope="module")
def reference(sample: Sample) -> torch.Tensor:
    return sample.windows(make_decoder("pillow"))


def differences(found_BCHW: torch.Tensor, expected_BCHW: torch.Tensor) -> tuple[NDArray[Any], NDArray[Any]]:
    """Mean and largest difference of each crop, in grey levels."""
    assert found_BCHW.shape == expected_BCHW.shape
    assert found_BCHW.dtype == expected_BCHW.dtype == torch.uint8
    difference = (found_BCHW.cpu().int() - expected_BCHW.int()).abs().flatten(1)
    return difference.float().mean(1).numpy(), difference.amax(1).numpy()


def test_windows_are_those_of_pillow(decoder: Decoder, sample: Sample, reference: torch.Tensor) -> None:
    mean_B, largest_B = differences(sample.windows(decoder), reference)
    assert len(sample.paths) == 60
    assert mean_B.max() < MAX_MEAN
    assert largest_B.max() <= MAX_DIFFERENCE


def test_a_window_one_pixel_off_is_far_from_the_right_one(
    decoder: Decoder, sample: Sample, reference: torch.Tensor
) -> None:
    movable_B = np.arange(len(sample.image_B)) % WINDOWS_PER_IMAGE < 2
    shifted = Sample(
        paths=sample.paths,
        image_B=sample.image_B[movable_B],
        boxes_B4=sample.boxes_B4[movable_B],
        flips_B=sample.flips_B[movable_B],
    )
    mean_B, largest_B = differences(shifted.windows(decoder, shift=1), reference[torch.from_numpy(movable_B)])
    assert mean_B.min() > MAX_MEAN
    assert largest_B.min() > MAX_DIFFERENCE


def test_center_is_that_of_pillow(decoder: Decoder, sample: Sample) -> None:
    mean_B, largest_B = differences(
        decoder.center(sample.paths, SIZE), make_decoder("pillow").center(sample.paths, SIZE)
    )
    assert mean_B.max() < MAX_MEAN
    assert largest_B.max() <= MAX_DIFFERENCE


def test_center_is_the_test_transform_of_open_clip(sample: Sample) -> None:
    resize, crop = image_transform(SIZE, is_train=False).transforms[:2]

    def transform(path: Path) -> NDArray[np.uint8]:
        image = Image.open(path).convert("RGBA").convert("RGB")
        width, height = resize(image).size
        # One axis at a time: which of them comes first has changed with Pillow 13.
        image = image.resize((width, image.height), Image.Resampling.BICUBIC)
        return np.array(crop(image.resize((width, height), Image.Resampling.BICUBIC)))

    expected = [transform(path) for path in sample.paths]
    found_BCHW = make_decoder("pillow").center(sample.paths, SIZE)
    assert np.array_equal(found_BCHW.permute(0, 2, 3, 1).numpy(), np.stack(expected))


def test_pixels_of_a_small_window(decoder: Decoder, tmp_path: Path) -> None:
    pixels_HWC = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    Image.fromarray(pixels_HWC).save(tmp_path / "small.png")
    crops = decoder.windows([tmp_path / "small.png"], np.array([0, 0]), np.array([[1, 2, 2, 2]] * 2), [False, True], 2)
    assert crops[0].tolist() == [[[21, 24], [36, 39]], [[22, 25], [37, 40]], [[23, 26], [38, 41]]]
    assert crops[1].tolist() == [[[24, 21], [39, 36]], [[25, 22], [40, 37]], [[26, 23], [41, 38]]]


def test_a_window_of_one_pixel(decoder: Decoder, tmp_path: Path) -> None:
    Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3)).save(tmp_path / "small.png")
    crops = decoder.windows([tmp_path / "small.png"], np.array([0]), np.array([[3, 2, 1, 1]]), np.array([True]), 5)
    assert torch.equal(crops, torch.tensor([42, 43, 44], dtype=torch.uint8).reshape(1, 3, 1, 1).expand(1, 3, 5, 5))


def test_a_window_is_the_same_bits_in_any_company(decoder: Decoder, sample: Sample) -> None:
    order = np.random.default_rng(1).permutation(len(sample.image_B))
    together = decoder.windows(
        sample.paths * 2, sample.image_B[order] + 60, sample.boxes_B4[order], sample.flips_B[order], SIZE
    )
    for place in range(0, len(order), 40):
        b = order[place : place + 1]
        path = sample.paths[sample.image_B[b[0]]]
        alone = decoder.windows([path], np.array([0]), sample.boxes_B4[b], sample.flips_B[b], SIZE)
        assert torch.equal(alone[0], together[place])


def test_no_windows(decoder: Decoder) -> None:
    crops = decoder.windows([], np.zeros(0, np.int64), np.zeros((0, 4), np.int32), np.zeros(0, np.bool_), 8)
    assert crops.shape == (0, 3, 8, 8)
    assert decoder.center([], 8).shape == (0, 3, 8, 8)


def png_of_16_bits(width: int, height: int) -> bytes:
    rng = np.random.default_rng(3)
    rows = b"".join(b"\0" + rng.integers(0, 256, width * 6, dtype=np.uint8).tobytes() for _ in range(height))
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in [*chunks, (b"IEND", b"")]
    )


def as_rgb(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.array(image.convert("RGB"))


def test_odd_formats_are_read_as_pillow_reads_them(decoder: Decoder, tmp_path: Path) -> None:
    image = noisy_image(np.random.default_rng(2), 60, 80)
    kinds = ["odd.gif", "odd.bmp", "odd.webp", "odd.tiff", "odd.ppm"]
    for kind in kinds:
        image.save(tmp_path / kind)
    image.save(tmp_path / "moving.gif", save_all=True, append_images=[Image.new("RGB", image.size)])
    (tmp_path / "deep.png").write_bytes(png_of_16_bits(80, 60))
    Image.fromarray(np.arange(4800, dtype=np.uint16).reshape(60, 80)).save(tmp_path / "deep_grey.png")
    paths = [tmp_path / kind for kind in [*kinds, "moving.gif", "deep.png", "deep_grey.png"]]
    boxes_B4 = np.tile(np.array([0, 0, 48, 48], dtype=np.int32), (len(paths), 1))
    found = decoder.windows(paths, np.arange(len(paths)), boxes_B4, np.zeros(len(paths), np.bool_), 48)
    expected = [as_rgb(path)[:48, :48] for path in paths]
    assert np.array_equal(found.permute(0, 2, 3, 1).numpy(), np.stack(expected))


def test_an_image_is_decoded_once_for_all_its_windows(
    decoder: Decoder, sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[int] = []
    if decoder.name == "dali":
        run = decoder._run  # type: ignore[attr-defined]
        monkeypatch.setattr(
            decoder, "_run", lambda encoded: (decoded.extend(len(data) for data in encoded), run(encoded))[1]
        )
    elif decoder.name == "torchvision":
        decode_image = torchvision_decoder.decode_image
        monkeypatch.setattr(
            torchvision_decoder,
            "decode_image",
            lambda data, **options: (decoded.append(len(data)), decode_image(data, **options))[1],
        )
    else:
        decode = pillow_decoder.decode_with_pillow
        monkeypatch.setattr(
            pillow_decoder,
            "decode_with_pillow",
            lambda file: (decoded.append(len(file.data)), decode(file))[1],
        )
    paths = sample.paths[:3]
    boxes_B4 = np.tile(np.array([3, 5, 40, 30], dtype=np.int32), (150, 1))
    decoder.windows(paths, np.tile(np.arange(3), 50), boxes_B4, np.zeros(150, np.bool_), 16)
    assert sorted(decoded) == sorted(path.stat().st_size for path in paths), "in whatever order threads come to them"


def test_auto_takes_torchvision_on_the_cpu_and_dali_on_cuda() -> None:
    on_cpu, on_cuda = make_decoder(), make_decoder("auto", "cuda:0")
    assert (on_cpu.name, on_cpu.reason) == ("torchvision", "auto: torchvision is the fastest on the CPU")
    assert (on_cuda.name, on_cuda.reason) == ("dali", "auto: DALI decodes on the CUDA device, where crops are cut too")


def test_a_decoder_says_its_name_and_version(decoder: Decoder) -> None:
    assert decoder.name in BACKENDS
    assert decoder.version[0].isdigit()
    assert decoder.reason == f"{decoder.name} was asked for"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", BACKENDS)
def test_crops_on_a_cuda_device(name: str, sample: Sample, reference: torch.Tensor) -> None:
    crops = sample.windows(make_decoder(name, "cuda"))
    assert crops.device.type == "cuda"
    mean_B, largest_B = differences(crops, reference)
    assert mean_B.max() < MAX_MEAN
    assert largest_B.max() <= MAX_DIFFERENCE
