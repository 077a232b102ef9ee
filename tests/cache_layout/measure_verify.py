"""How fast `verify` is beside sha256 and the disk; run as a script: `python measure_verify.py FOLDER [GB]`.

Makes a store of unit embeddings [N, 32, 1024] and logits [N, 32, 500], float16, in FOLDER, and prints GB/s of the best
of three: sha256 of one thread over the files in the cache, reading them cold (evicted before), and verify,
cold and warm, with one and with two jobs. CPU time of a thread is printed beside, since other load does not change it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import time
from pathlib import Path

import numpy as np

from fdbpl.cache_layout.array_spec import ArraySpec
from fdbpl.cache_layout.create import create_store
from fdbpl.cache_layout.images import ImageIndex
from fdbpl.cache_layout.manifest import Manifest
from fdbpl.cache_layout.seal import seal
from fdbpl.cache_layout.verify import verify
from fdbpl.cache_layout.writer import write_block

SPECS = [
    ArraySpec(name="teacher/embedding", row_shape=(1024,), dtype="float16"),
    ArraySpec(name="teacher/logits", row_shape=(500,), dtype="float16"),
]
NUM_SEEDS, PER_BLOCK = 32, 1024


def make(path: Path, num_bytes: int) -> None:
    num_blocks = max(1, num_bytes // (PER_BLOCK * NUM_SEEDS * 3048))
    count = num_blocks * PER_BLOCK
    images = ImageIndex(
        paths=tuple(f"{number}" for number in range(count)),
        sizes_N2=np.ones((count, 2), int),
        digests_N32=np.zeros((count, 32), np.uint8),
        labels_N=np.zeros(count, int),
    )
    store = create_store(
        path,
        manifest=Manifest({}),
        images=images,
        class_lists=[],
        num_seeds=NUM_SEEDS,
        images_per_block=PER_BLOCK,
        seeds_per_block=NUM_SEEDS,
        campaigns={"teacher": SPECS},
    )
    unit = np.random.default_rng(0).normal(size=(PER_BLOCK, NUM_SEEDS, 1024)).astype(np.float32)
    unit = (unit / np.linalg.norm(unit, axis=-1, keepdims=True)).astype(np.float16)
    for block in store.missing_blocks("teacher"):
        write_block(store, "teacher", block, {"teacher/embedding": unit, "teacher/logits": unit[..., :500] * 20})
    seal(path)


def evict(files: list[Path]) -> None:
    for file in files:
        descriptor = os.open(file, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def read_all(files: list[Path], use) -> None:
    buffer = memoryview(bytearray(1 << 20))
    for file in files:
        with file.open("rb", buffering=0) as raw:
            while count := raw.readinto(buffer):
                use(buffer[:count])


def main(folder: Path, gigabytes: float) -> None:
    path = folder / "measured.zarr"
    shutil.rmtree(path, ignore_errors=True)
    make(path, int(gigabytes * 1e9))
    files = sorted(path.glob("teacher/*/c.*"))
    size = sum(file.stat().st_size for file in files)
    os.sync()
    digest = hashlib.sha256()
    ways = {
        "sha256, one thread, warm": (False, lambda: read_all(files, digest.update)),
        "read, cold": (True, lambda: read_all(files, lambda piece: None)),
        "verify, 1 job, warm": (False, lambda: verify(path, jobs=1)),
        "verify, 1 job, cold": (True, lambda: verify(path, jobs=1)),
        "verify, 2 jobs, warm": (False, lambda: verify(path, jobs=2)),
        "verify, 2 jobs, cold": (True, lambda: verify(path, jobs=2)),
        "verify without norms, 1 job, warm": (False, lambda: verify(path, jobs=1, unit_norm=False)),
    }
    best = dict.fromkeys(ways, (1000000000.0, 1000000000.0))
    for _ in range(3):
        for name, (cold, act) in ways.items():
            if cold:
                evict(files)
            wall, cpu = time.perf_counter(), time.process_time()
            act()
            spent = time.perf_counter() - wall, time.process_time() - cpu
            best[name] = min(best[name][0], spent[0]), min(best[name][1], spent[1])
    for name, (wall, cpu) in best.items():
        print(f"{name}: {size / wall / 1e9:.2f} GB/s; a CPU second does {size / cpu / 1e9:.2f} GB")
    shutil.rmtree(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 1.0)
