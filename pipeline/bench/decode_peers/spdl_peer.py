"""SPDL (https://github.com/facebookresearch/spdl), Meta's loader of media: FFmpeg behind functions that let go of the
interpreter's lock.

Tried on two cores, from files of 500x375 and 2000x1500 in memory, crops a second:

| | 500, K=1 | 500, K=16 | 2000, K=1 | 2000, K=16 |
|---|---|---|---|---|
| a filter graph for each window, decoded once a file | 485 | 791 | 61 | 292 |
| the file decoded whole to RGB, windows resized by torch | 345 | 2182 | 40 | 357 |

So a file with one window goes through a graph, a file with more through torch. One graph with a branch for each window
was as fast as a graph each; converting to RGB only what the windows span, or before the graph cuts, was slower; SPDL's
pipeline was as fast as the plain threads that are used here. Its wheels come without FFmpeg, whose shared libraries
(libavfilter, libavdevice) must be there.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fdbpl.pipeline.bench.decode_peers.peer import EACH, ONCE, Missing, Way
from fdbpl.pipeline.bench.decode_peers.views import SIDE, Views
from fdbpl.pipeline.loading.batch_decoder import cut_by_torch
from fdbpl.pipeline.loading.cuts import Cuts
from fdbpl.pipeline.loading.threads import in_threads

# `threads=1`: FFmpeg's filters else start threads of their own, on all cores, within each of ours.
_TO_RGB = "scale=threads=1,format=rgb24"
_SETTINGS = {
    "graphs": "a filter graph (crop, scale, hflip) for each window",
    "torch": "decoded whole, windows cut and resized by torch",
}


class SpdlPeer:
    """`spdl.io` on as many threads as torch has; files with 4:2:0 colour, as Pillow writes them."""

    name = "spdl"

    def missing(self) -> Missing | None:
        try:
            from spdl.io.utils import get_ffmpeg_versions

            get_ffmpeg_versions()
        except ModuleNotFoundError:
            return Missing(reason="spdl is not installed", install="pip install 'fdbpl[bench]'")
        except RuntimeError:  # from its loader, which has tried each version of FFmpeg
            return Missing(reason="spdl finds no shared libraries of FFmpeg", install="apt-get install ffmpeg")
        return None

    def ways(self, views: Views, stack: ExitStack) -> Iterator[Way]:
        if views.are_alone:
            yield _way(ONCE, _by_graphs, views, "graphs")
        else:
            yield _way(ONCE, _by_torch, views, "torch")
            yield _way(EACH, _by_graphs, views.each_alone(), "graphs")


def _way(workload: str, cut: Callable[[Views], Tensor], views: Views, setting: str) -> Way:
    return Way(workload=workload, take=lambda: len(cut(views)), crops=lambda: cut(views), setting=_SETTINGS[setting])


def _by_graphs(views: Views) -> Tensor:
    """Crops of views that are alone, as a view of [B, SIDE, SIDE, 3]."""
    import spdl.io

    def cut(b: int) -> Any:
        packets = spdl.io.demux_image(str(views.paths[b]))
        return spdl.io.decode_packets(packets, filter_desc=_graph(views.boxes_B4[b].tolist(), bool(views.flips_B[b])))

    frames = in_threads(cut, range(len(views)))
    crops_BCHW: Tensor = spdl.io.to_torch(spdl.io.convert_frames(frames)).permute(0, 3, 1, 2)
    return crops_BCHW


def _graph(box: list[int], is_flipped: bool) -> str:
    top, left, height, width = box
    # A colour sample lies in the middle of two by two pixels (128 / 256); `crop` gives a window that begins within the
    # two that one's first. Without `full_chroma_int` colour would have half the crop's resolution (up to 2.8 times the
    # difference from Pillow's pixels, for 2 to 5 % of the time).
    colour = f"in_h_chr_pos={128 - 256 * (left % 2)}:in_v_chr_pos={128 - 256 * (top % 2)}"
    scale = f"scale={SIDE}:{SIDE}:flags=bicubic+full_chroma_int:{colour}:threads=1"
    mirror = ",hflip" if is_flipped else ""
    return f"crop={width}:{height}:{left}:{top}:exact=1,{scale}{mirror},format=rgb24"


def _by_torch(views: Views) -> Tensor:
    import spdl.io

    crops_BCHW = torch.empty((len(views), 3, SIDE, SIDE), dtype=torch.uint8)
    cuts = Cuts(
        image_B=views.image_B,
        boxes_B4=views.boxes_B4,
        resized_B2=np.full((len(views), 2), SIDE),
        corners_B2=np.zeros((len(views), 2), dtype=np.int64),
        flips_B=views.flips_B,
        size=SIDE,
    )

    def cut_all_of(position: int) -> None:
        packets = spdl.io.demux_image(str(views.paths[position]))
        frame = spdl.io.decode_packets(packets, filter_desc=_TO_RGB)
        pixels_CHW = spdl.io.to_torch(spdl.io.convert_frames(frame)).permute(2, 0, 1)
        for b in np.flatnonzero(views.image_B == position).tolist():
            crops_BCHW[b] = cut_by_torch(pixels_CHW, cuts, b)

    in_threads(cut_all_of, range(len(views.paths)))
    return crops_BCHW
