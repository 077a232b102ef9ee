"""DALI: decodes, cuts and resizes on a CUDA device, or with its CPU operators where there is none.

Two pipelines, fed from here and kept between calls: one decodes a batch of files, the other makes a batch
of cuts from decoded images, so that K crops share one decode. Only the first can fail on a file, since
the boxes were checked; its error names no sample, so the files of the batch are then decoded one by one,
and what DALI refuses by Pillow, which says what is bad. At most `MAX_BATCH` decoded images are held. Whole
images are decoded always: decoding only the window is 1.3 times as fast at one window an image, but does not
notice that a file is cut short below it.

On a CUDA device decoding is `mixed`, with the chroma upsampling of the CPU's decoder; a call returns when
its crops are complete.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import nvidia.dali.fn
import nvidia.dali.types
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from fdbpl.pipeline.loading.cut_decoder import CutDecoder, check_decoded_size
from fdbpl.pipeline.loading.cuts import Cuts
from fdbpl.pipeline.loading.image_file import ImageFile, decode_with_pillow

MAX_BATCH = 64

ItemT = TypeVar("ItemT")

# DALI's type hints lack its constants and refuse nodes that it takes.
dali: Any = nvidia.dali


class DaliDecoder(CutDecoder):
    """Decodes and cuts with DALI; kinds of files that it reads otherwise than Pillow go through Pillow."""

    name = "dali"
    version: str = dali.__version__

    def __init__(self, device: torch.device, reason: str) -> None:
        super().__init__(device, reason)
        self._decoding = _LastingPipeline(device, _define_decoding)
        self._cutting = _LastingPipeline(device, _define_cutting)

    def _cut(self, files: Sequence[ImageFile], cuts: Cuts) -> Tensor:
        shape = (len(cuts), 3, cuts.size, cuts.size)
        crops_BCHW = torch.empty(shape, dtype=torch.uint8, device=self.device)
        for batch in _batches(files):
            images = {file.index: image for file, image in zip(batch, self._decode(batch), strict=True)}
            for rows in _batches(np.flatnonzero(np.isin(cuts.image_B, list(images))).tolist()):
                chosen = [images[int(cuts.image_B[b])] for b in rows]
                crops_BCHW[rows] = self._cut_batch(chosen, cuts, rows)
                if self.device.type == "cuda":
                    # DALI takes its buffers back at the next run, whatever torch still has queued on them.
                    torch.cuda.current_stream(self.device).synchronize()
        return crops_BCHW

    def _check(self, file: ImageFile) -> None:
        self._decode([file])

    def _decode(self, files: Sequence[ImageFile]) -> list[Tensor]:
        """Decode a batch to uint8 [H, W, 3] tensors on the device."""
        native = [file for file in files if file.is_native]
        try:
            decoded = iter(self._decode_native(native))
        except RuntimeError as error:
            decoded = iter(self._decode_one_by_one(native, error))
        images = [next(decoded) if file.is_native else self._decode_odd(file) for file in files]
        for file, image in zip(files, images, strict=True):
            check_decoded_size(file, image.shape[0], image.shape[1])
        return images

    def _decode_native(self, files: Sequence[ImageFile]) -> list[Tensor]:
        if not files:
            return []
        images = self._decoding.run(encoded=[np.frombuffer(file.data, dtype=np.uint8) for file in files])
        return [from_dlpack(images[i]) for i in range(len(files))]

    def _decode_one_by_one(self, files: Sequence[ImageFile], error: RuntimeError) -> list[Tensor]:
        """Decode the files of a batch that failed by `error`; those at fault go through Pillow."""
        images, faults = [], 0
        for file in files:
            try:
                # A copy, since the next run takes the buffers back.
                images.append(self._decode_native([file])[0].clone())
                if self.device.type == "cuda":
                    torch.cuda.current_stream(self.device).synchronize()
            except RuntimeError:
                faults += 1
                images.append(self._decode_odd(file))
        if not faults:
            raise error
        return images

    def _decode_odd(self, file: ImageFile) -> Tensor:
        return torch.from_numpy(np.array(decode_with_pillow(file))).to(self.device)

    def _cut_batch(self, images: list[Tensor], cuts: Cuts, rows: Sequence[int]) -> Tensor:
        boxes_B4 = cuts.boxes_B4[rows].astype(np.int32)
        crops = self._cutting.run(
            # For a CPU tensor too DALI would ask torch for a CUDA stream, which not every machine has.
            image=[image if image.is_cuda else image.numpy() for image in images],
            box_corner=boxes_B4[:, :2].copy(),
            box_extent=boxes_B4[:, 2:].copy(),
            margin=_filter_reach(cuts, rows),
            resized=cuts.resized_B2[rows].astype(np.float32),
            corner=cuts.corners_B2[rows].astype(np.int32),
            side=np.full((len(rows), 2), cuts.size, dtype=np.int32),
            flip=cuts.flips_B[rows].astype(np.int32),
        )
        return from_dlpack(crops.as_tensor()).permute(0, 3, 1, 2)


class _LastingPipeline:
    """A pipeline made when first run, kept, and made anew after an error (it cannot be used after one)."""

    def __init__(self, device: torch.device, define: Callable[[bool], Any]) -> None:
        self._device = device
        self._define = define
        self._pipeline: Any = None

    def run(self, **inputs: Any) -> Any:
        """Run one batch of at most MAX_BATCH samples; returns DALI's list of the results."""
        if self._pipeline is None:
            self._pipeline = self._make()
        try:
            (outputs,) = self._pipeline.run(**inputs)
        except RuntimeError:
            self._pipeline = None
            raise
        return outputs

    def _make(self) -> Any:
        is_cuda = self._device.type == "cuda"
        device_id = None
        if is_cuda:
            device_id = torch.cuda.current_device() if self._device.index is None else self._device.index
        # One batch in flight: inputs are handed over by name, and stay alive until the run is over.
        pipeline = dali.Pipeline(
            batch_size=MAX_BATCH,
            num_threads=torch.get_num_threads(),
            device_id=device_id,
            prefetch_queue_depth=1,
        )
        with pipeline:
            pipeline.set_outputs(self._define(is_cuda))
        return pipeline


def _define_decoding(is_cuda: bool) -> Any:
    return dali.fn.decoders.image(
        _input("encoded", ndim=1, dtype=dali.types.UINT8, no_copy=True),
        device="mixed" if is_cuda else "cpu",
        output_type=dali.types.RGB,
        adjust_orientation=False,
        jpeg_fancy_upsampling=True,
    )


def _define_cutting(is_cuda: bool) -> Any:
    """Slice, resize, take the square, flip.

    At the border of a window DALI repeats the last pixel, while Pillow leaves out what the filter lacks
    and scales up the rest: 9 grey levels apart in a grainy image. So the window gets a margin of zeros
    and a fourth channel of ones, both are resized, and the colours are divided by what the ones became.
    """
    images = _input(
        "image",
        ndim=3,
        dtype=dali.types.UINT8,
        layout="HWC",
        device="gpu" if is_cuda else "cpu",
        no_copy=not is_cuda,  # on the GPU DALI gathers single images by a copy in any case
    )
    extent, margin = _input("box_extent"), _input("margin")
    windows = dali.fn.slice(images, start=_input("box_corner"), shape=extent, axis_names="HW")
    ones = dali.fn.cast(_channels(windows, 0, 1) * 0 + 1, dtype=dali.types.UINT8)
    padded = dali.fn.slice(
        dali.fn.cat(windows, ones, axis=2),
        start=-margin,
        shape=extent + 2 * margin,
        axis_names="HW",
        out_of_bounds_policy="pad",
    )
    resized = dali.fn.resize(
        padded,
        roi_start=dali.fn.cast(margin, dtype=dali.types.FLOAT),
        roi_end=dali.fn.cast(margin + extent, dtype=dali.types.FLOAT),
        size=_input("resized", dtype=dali.types.FLOAT),
        interp_type=dali.types.INTERP_CUBIC,
        antialias=True,
        dtype=dali.types.FLOAT,
    )
    # The cast rounds, and keeps to 0..255.
    colors = dali.fn.cast(_channels(resized, 0, 3) / _channels(resized, 3, 1), dtype=dali.types.UINT8)
    squares = dali.fn.slice(colors, start=_input("corner"), shape=_input("side"), axis_names="HW")
    return dali.fn.flip(squares, horizontal=_input("flip", ndim=0))


def _channels(images: Any, first: int, count: int) -> Any:
    return dali.fn.slice(images, start=[first], shape=[count], axis_names="C")


def _filter_reach(cuts: Cuts, rows: Sequence[int]) -> NDArray[np.int32]:
    """How far the cubic filter reaches, in pixels of the image: two pixels of the coarser grid, rounded up."""
    shrink_B2 = np.maximum(1, cuts.boxes_B4[rows][:, 2:] / cuts.resized_B2[rows])
    reach_B2: NDArray[np.int32] = np.ceil(2 * shrink_B2).astype(np.int32) + 1
    return reach_B2


def _input(name: str, *, ndim: int = 1, dtype: Any = dali.types.INT32, **options: Any) -> Any:
    return dali.fn.external_source(name=name, ndim=ndim, dtype=dtype, **options)


def _batches(items: Sequence[ItemT]) -> Iterator[Sequence[ItemT]]:
    for start in range(0, len(items), MAX_BATCH):
        yield items[start : start + MAX_BATCH]
