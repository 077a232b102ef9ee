"""Makes tar shards of a data set's images, in the layout of WebDataset: `cats/1.jpg` and, beside it, `cats/1.cls`.

Members are called as the images' paths and hold their bytes unchanged, so a store that was made from the folder fits
the shards, and the other way round. Order is that of the lists: a teacher task's block is a run of images of the train
list, so each task reads few shards, from one end to the other. The same images give the same bytes. A shard appears
whole, so work that was cut off goes on with the next. Memory: `AHEAD` images.
"""

import tarfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fdbpl.cache_layout.files import publish, staged_file
from fdbpl.pipeline.datasets.data_set import DataSet
from fdbpl.pipeline.shards.files import read_file
from fdbpl.pipeline.shards.index import has_index, write_index

NUM_READERS = 16
AHEAD = 64
SPLITS = ("train", "val", "test")
OnProgress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class ShardPlan:
    """A shard that is to be there: its images by their paths, and the label of each."""

    path: Path
    images: tuple[str, ...]
    labels: tuple[int, ...]

    @property
    def num_images(self) -> int:
        return len(self.images)

    def members(self) -> Iterator[tuple[str, bytes | None]]:
        """Names in order, with the content of those that are labels."""
        for image, label in zip(self.images, self.labels, strict=True):
            yield image, None
            yield label_name(image), b"%d" % label


def label_name(image: str) -> str:
    """The member that holds an image's label; what follows the last dot of the name is replaced."""
    return str(PurePosixPath(image).with_suffix(".cls"))


def plan_shards(data: DataSet, out: Path, images_per_shard: int) -> list[ShardPlan]:
    """The shards of all lists, `train-000000.tar` and so on; an image of two lists goes with the first.

    Raises:
        ValueError: two images that differ in their extension alone (they would share a label's name).
    """
    seen: set[str] = set()
    image_of: dict[str, str] = {}
    plans = []
    for split_name in SPLITS:
        split = getattr(data, split_name)
        chosen = []
        for path, label in zip(split.paths, split.labels, strict=True):
            name = str(PurePosixPath(path))
            if name in seen:
                continue
            seen.add(name)
            other = image_of.setdefault(label_name(name), name)
            if other != name:
                raise ValueError(
                    f"{data.name}: found the images {other!r} and {name!r}, expected names that differ before the "
                    "extension: in shards they would have one label; rename one of them"
                )
            chosen.append((name, label))
        for number, start in enumerate(range(0, len(chosen), images_per_shard)):
            names, labels = zip(*chosen[start : start + images_per_shard], strict=True)
            plans.append(ShardPlan(path=out / f"{split_name}-{number:06d}.tar", images=names, labels=labels))
    return plans


def write_shards(root: Path, plans: Sequence[ShardPlan], on_progress: OnProgress) -> None:
    """Write the shards that are not there, and the index of each that has none.

    Args:
        root: where the images lie; a folder, or shards.
        plans: of `plan_shards`; those that are there were compared before (`packed.check_made`).
        on_progress: called with images done and images in all.

    Raises:
        OSError: an image that cannot be read, a disk that is full; finished shards stay.
    """
    total = sum(plan.num_images for plan in plans)
    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        on_progress(done, total)

    for plan in plans:
        if plan.path.exists():
            done += plan.num_images
            on_progress(done, total)
        else:
            plan.path.parent.mkdir(parents=True, exist_ok=True)
            with staged_file(plan.path.parent, _pieces(root, plan, count)) as (staged, _):
                publish(staged, plan.path)
        if not has_index(plan.path):
            write_index(plan.path)


def _pieces(root: Path, plan: ShardPlan, count: Callable[[], None]) -> Iterator[bytes]:
    num_bytes = 0
    with ThreadPoolExecutor(NUM_READERS, thread_name_prefix="fdbpl-read") as pool:
        for start in range(0, plan.num_images, AHEAD):
            images = plan.images[start : start + AHEAD]
            labels = plan.labels[start : start + AHEAD]
            contents = pool.map(lambda image: read_file(root / image), images)
            for image, label, content in zip(images, labels, contents, strict=True):
                for piece in (*_member(image, content), *_member(label_name(image), b"%d" % label)):
                    num_bytes += len(piece)
                    yield piece
                count()
    # The end mark, filled up as every tar program does.
    num_bytes += 2 * tarfile.BLOCKSIZE
    yield b"\0" * (2 * tarfile.BLOCKSIZE + -num_bytes % tarfile.RECORDSIZE)


def _member(name: str, content: bytes) -> tuple[bytes, bytes, bytes]:
    """Header, content, filling. Time, owner and mode are the same for all: the same images give the same tar."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    header = info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    return header, content, b"\0" * (-len(content) % tarfile.BLOCKSIZE)
