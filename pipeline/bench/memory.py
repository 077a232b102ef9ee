"""How much memory many processes that read one store take together.

The proportional set size (Pss) divides each page by the number of processes that map it, so its sum over the
processes is the memory that the store takes once: near the size of its files if they share it. Only maps of the
store's files are counted, not the interpreter.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fdbpl.pipeline.bench.peers.bench_store import ARRAY, STORE
from fdbpl.pipeline.bench.peers.fdbpl_peer import FdbplPeer
from fdbpl.pipeline.bench.worker_pool import WorkerPool

_NO_LIMIT = 1e9


def measure_memory(pool: WorkerPool, folder: Path) -> dict[str, Any]:
    """Open our reader in every process, let each read every row by planes, and sum their Pss of the store."""
    name, count = FdbplPeer.name, len(pool)
    pool.call(count, "open", name)
    pool.call(count, "warm_up", name, "plane", _NO_LIMIT)
    store = (folder / STORE).resolve()
    pss_bytes = sum(mapped_pss_bytes(Path(f"/proc/{pid}/smaps"), store) for pid in pool.call(count, "pid"))
    pool.call(count, "close", name)
    file_bytes = sum(file.stat().st_size for file in (store / ARRAY).glob("c.*"))
    return {
        "processes": count,
        "pss_bytes": pss_bytes,
        "file_bytes": file_bytes,
        "ratio": round(pss_bytes / file_bytes, 4),
    }


def mapped_pss_bytes(smaps: Path, folder: Path) -> int:
    """The sum of Pss over the maps of files below a folder."""
    return sum(_pss_of_maps(smaps.read_text().splitlines(), f"{folder}/"))


def _pss_of_maps(lines: Iterable[str], prefix: str) -> Iterable[int]:
    is_counted = False
    for line in lines:
        key, _, value = line.partition(" ")
        if not key.endswith(":"):  # the first line of a map: addresses, rights, offset, device, inode, path
            path = line.split(maxsplit=5)[5:]
            is_counted = bool(path) and path[0].startswith(prefix)
        elif is_counted and key == "Pss:":
            yield int(value.split()[0]) * 1024
