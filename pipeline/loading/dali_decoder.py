"""DALI: decodes on a CUDA device, or with its CPU operators where there is none; the cuts are made by `batch_decoder`.

Its own resize is not used: on a GPU it is up to 6 grey levels from Pillow's, and a third as fast as our kernels
(docs/gpu.md). A pipeline is kept between calls. Its error names no sample, so the files of a batch that failed are
decoded one by one, and what DALI refuses by Pillow, which says what is bad. Whole images are decoded always: decoding
only the window would not notice that a file is cut short below it.

On a CUDA device decoding is `mixed`. A GPU's JPEG engine, where it has one, gets every file that it can decode: CUDA's
pixels are others (up to 5 grey levels from the CPU's decoder, the engine's hardly: docs/gpu.md), so that with a share
of each batch, as by default, a crop would depend on its batch. Progressive files, which the engine leaves to CUDA, go
through Pillow.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import nvidia.dali.fn
import nvidia.dali.types
import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from fdbpl.pipeline.loading.batch_decoder import AT_ONCE, BatchDecoder
from fdbpl.pipeline.loading.image_file import ImageFile, decode_with_pillow
from fdbpl.pipeline.loading.threads import in_threads

# DALI's type hints lack its constants and refuse nodes that it takes.
dali: Any = nvidia.dali


class DaliDecoder(BatchDecoder):
    """Decodes with DALI; kinds of files that it reads otherwise than Pillow go through Pillow."""

    name = "dali"
    version: str = dali.__version__

    def __init__(self, device: torch.device, reason: str) -> None:
        super().__init__(device, reason)
        self._pipeline: Any = None

    def _decode(self, files: Sequence[ImageFile]) -> list[Tensor]:
        is_ours = [file.is_native and not (self.device.type == "cuda" and file.is_progressive) for file in files]
        native = [file for file, is_it in zip(files, is_ours, strict=True) if is_it]
        others = [file for file, is_it in zip(files, is_ours, strict=True) if not is_it]
        odd = iter(in_threads(self._decode_odd, others))
        try:
            decoded = iter(self._decode_native(native))
        except RuntimeError as error:
            decoded = iter(self._decode_one_by_one(native, error))
        return [next(decoded) if is_it else next(odd).to(self.device) for is_it in is_ours]

    def _decode_native(self, files: Sequence[ImageFile]) -> list[Tensor]:
        if not files:
            return []
        images = self._run([np.frombuffer(file.data, dtype=np.uint8) for file in files])
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
                images.append(self._decode_odd(file).to(self.device))
        if not faults:
            raise error
        return images

    def _decode_odd(self, file: ImageFile) -> Tensor:
        return torch.from_numpy(np.array(decode_with_pillow(file)))

    def _run(self, encoded: list[np.ndarray]) -> Any:
        """Decode one batch; returns DALI's list of the images. The pipeline cannot be used again after an error."""
        if self._pipeline is None:
            self._pipeline = self._make()
        try:
            (images,) = self._pipeline.run(encoded=encoded)
        except RuntimeError:
            self._pipeline = None
            raise
        return images

    def _make(self) -> Any:
        is_cuda = self.device.type == "cuda"
        device_id = None
        if is_cuda:
            device_id = torch.cuda.current_device() if self.device.index is None else self.device.index
        # One batch in flight: inputs are handed over by name, and stay alive until the run is over.
        pipeline = dali.Pipeline(
            batch_size=AT_ONCE[self.device.type],
            num_threads=torch.get_num_threads(),
            device_id=device_id,
            prefetch_queue_depth=1,
        )
        with pipeline:
            encoded = dali.fn.external_source(name="encoded", ndim=1, dtype=dali.types.UINT8, no_copy=True)
            pipeline.set_outputs(
                dali.fn.decoders.image(
                    encoded,
                    device="mixed" if is_cuda else "cpu",
                    output_type=dali.types.RGB,
                    adjust_orientation=False,
                    jpeg_fancy_upsampling=True,
                    # All that the engine can decode; what is left is CUDA's.
                    **({"hw_decoder_load": 1.0} if is_cuda else {}),
                )
            )
        return pipeline
