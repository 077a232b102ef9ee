"""What shards save; run as a script: `python measure_shards.py FOLDER [IMAGES] [BYTES]`.

Makes IMAGES files of BYTES random bytes in FOLDER, 1,000 in a folder, and shards of them, and prints: reading all of
them in the order of the list, on one thread and on 16, cold (pages dropped before; names stay cached) and warm; and how
long a new process takes to know where the members lie, from the headers (cold and warm) and from the indexes.
"""

import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fdbpl.pipeline.bench.page_cache import files_below, make_cold
from fdbpl.pipeline.data.pack import plan_shards, write_shards
from fdbpl.pipeline.datasets.data_set import DataSet, Split
from fdbpl.pipeline.shards.files import read_file
from fdbpl.pipeline.shards.index import index_path
from fdbpl.pipeline.shards.names import find_shards
from fdbpl.pipeline.shards.shard_set import ShardSet


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def make(folder: Path, num_images: int, num_bytes: int) -> tuple[str, ...]:
    paths = tuple(f"class {number // 1000}/{number:07d}.jpg" for number in range(num_images))
    for path in paths:
        (folder / "images" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "images" / path).write_bytes(os.urandom(num_bytes))
    nothing = Split(paths=(), labels=())
    data = DataSet(
        name="random",
        root=folder / "images",
        class_names=("x",),
        train=Split(paths=paths, labels=(0,) * num_images),
        val=nothing,
        test=nothing,
    )
    plans = plan_shards(data, folder / "shards", 4096)
    spent = seconds(lambda: write_shards(data.root, plans, lambda done, total: None))
    print(f"{num_images} images of {num_bytes} bytes to {len(plans)} shards: {spent:.1f} s")
    return paths


def read_all(root: Path, paths: Sequence[str], num_threads: int) -> None:
    with ThreadPoolExecutor(num_threads) as pool:
        for start in range(0, len(paths), 1024):
            for _ in pool.map(lambda path: len(read_file(root / path)), paths[start : start + 1024]):
                pass


def main(folder: Path, num_images: int = 20_000, num_bytes: int = 20_000) -> None:
    paths = make(folder, num_images, num_bytes)
    shards = folder / "shards" / "*.tar"
    for root, files in ((folder / "images", folder / "images"), (shards, folder / "shards")):
        everything = list(files_below([files]))
        for num_threads in (1, 16):
            cold = make_cold(everything)
            spent = [seconds(lambda: read_all(root, paths, num_threads)) for _ in range(2)]  # noqa: B023 - called here
            rates = ", ".join(
                f"{state} {num_images / s:,.0f}" for state, s in zip(("cold", "warm"), spent, strict=True)
            )
            print(f"{root.name}, {num_threads} threads: images/s {rates} (share that stayed in memory: {cold:.3f})")
    print(f"members from indexes: {seconds(lambda: ShardSet(shards)):.2f} s")
    for shard in find_shards(shards):
        index_path(shard).unlink()
    make_cold(list(files_below([folder / "shards"])))
    print(f"members from headers, cold: {seconds(lambda: ShardSet(shards)):.2f} s")
    print(f"members from headers, warm: {seconds(lambda: ShardSet(shards)):.2f} s")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
