"""Looks at every image file once, before anything is computed: its size, the digest of its bytes, and that it
can be decoded.

One read a file serves both. The size is that of the stored pixels (EXIF rotation not applied), which
windows are drawn for. All bad files are found before any is reported, so that they can be mended at once, or are left
out, each named with the reason. All data of a file is decoded once, at a small scale, so that one cut short is found
before hours of work. Costs the reading and half a decode of all files that no `ScanLog` knows, by threads, and memory
for the result alone.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import torch

from fdbpl.cache_layout.images import ImageIndex
from fdbpl.pipeline.datasets.scan_log import ENTRY, Entries, ScanLog, entry_key
from fdbpl.pipeline.loading.decoder import UnreadableImage, UnreadableImages
from fdbpl.pipeline.loading.image_file import check_pixels, read_image_file
from fdbpl.pipeline.shards.files import lacking

BadImages = Literal["error", "exclude"]
DoneT = TypeVar("DoneT")

# Files in flight: enough to keep the threads busy, few enough for lists of millions.
_CHUNK = 512
# One reads from the disk while another decodes.
_THREADS_A_CORE = 2


def scan_images(
    root: Path,
    paths: Sequence[str],
    labels: Sequence[int],
    *,
    on_progress: Callable[[int, int], None] | None = None,
    num_threads: int = 0,
    digests: bool = True,
    bad_images: BadImages = "error",
    may_be_empty: bool = False,
    log: ScanLog | None = None,
    say: Callable[[str], None] | None = None,
) -> ImageIndex:
    """Read the header and the digest of each file, and decode its data.

    Args:
        root: The folder that the paths are relative to, or its tar shards.
        paths: The images, in the order of the index.
        labels: The class of each.
        on_progress: Called with (done, total) after each half thousand files, and at the end.
        num_threads: How many files are read at once; 0: twice as many as torch has threads.
        digests: Whether the digests are computed; zeros stand for those that are not.
        bad_images: Whether files that cannot be read are an error, or left out of the index and listed in it.
        may_be_empty: Whether all may be left out.
        log: What earlier scans have found, which is not read again; what this one finds is added as it goes.
        say: Called with a line on what is worth knowing: files known already, odd kinds, files left out.

    Returns:
        The index: sizes_N2 int32 (height, width), digests_N32 uint8 (sha256 of the bytes), labels_N int32, and what is
        excluded.

    Raises:
        UnreadableImages: Some files cannot be read, and are not to be left out, or none can; all are listed.
        ValueError: `paths` and `labels` are of different lengths, or no `root`.
    """
    if len(paths) != len(labels):
        raise ValueError(f"a scan needs a label for each path; found {len(paths)} paths and {len(labels)} labels")
    root = Path(root)
    if reason := lacking(root):
        raise ValueError(f"{reason}; images were to be scanned there")
    entries_N = np.zeros(len(paths), ENTRY)
    bad: list[UnreadableImage] = []
    num_known = 0
    count = num_threads or _THREADS_A_CORE * torch.get_num_threads()
    with ThreadPoolExecutor(count, thread_name_prefix="fdbpl-scan") as pool:
        try:
            for start in range(0, len(paths), _CHUNK):
                chunk = range(start, min(start + _CHUNK, len(paths)))
                missing = list(chunk)
                if log is not None:
                    missing = _look_up(log, root, paths, chunk, entries_N, pool, count, digests)
                    num_known += len(chunk) - len(missing)
                looks = _in_shares(pool, count, lambda i: _look_at(root / paths[i], i, entries_N, digests), missing)
                bad += [error for error in looks if error is not None]
                if log is not None:
                    read = entries_N[missing]
                    log.add(read[read["kind"] != b""])
                if on_progress is not None:
                    on_progress(chunk.stop, len(paths))
        finally:
            if log is not None:
                log.flush()
    if bad and (bad_images == "error" or (len(bad) == len(paths) and not may_be_empty)):
        raise UnreadableImages(bad, len(paths))
    if say is not None:
        _say_what_is_odd(say, entries_N, num_known, len(bad))
    kept_N = entries_N["kind"] != b""
    return ImageIndex(
        paths=tuple(path for path, is_kept in zip(paths, kept_N.tolist(), strict=True) if is_kept),
        sizes_N2=entries_N["size"][kept_N],
        digests_N32=entries_N["sha256"][kept_N] if digests else np.zeros((int(kept_N.sum()), 32), np.uint8),
        labels_N=np.asarray(labels, dtype=np.int32)[kept_N],
        excluded=tuple((paths[error.index], error.reason) for error in bad),
    )


def _look_at(path: Path, index: int, entries_N: Entries, digests: bool) -> UnreadableImage | None:
    """Fill in the entry of one file; what is wrong with it, where something is."""
    try:
        file = read_image_file(path, index)
        check_pixels(file)
    except UnreadableImage as error:
        return error
    entry = entries_N[index]
    entry["size"] = file.height, file.width
    if digests:
        entry["sha256"] = np.frombuffer(hashlib.sha256(file.data).digest(), dtype=np.uint8)
    entry["is_native"] = file.is_native
    entry["kind"] = file.kind_in_words.encode()
    return None


def _look_up(
    log: ScanLog,
    root: Path,
    paths: Sequence[str],
    chunk: range,
    entries_N: Entries,
    pool: ThreadPoolExecutor,
    num_threads: int,
    digests: bool,
) -> list[int]:
    """Fill in the entries that the log has, and the keys of the others; the numbers of those."""
    keys = _in_shares(pool, num_threads, lambda index: entry_key(root / paths[index]), chunk)
    found, is_there = log.find(keys, with_digest=digests)
    numbers = np.asarray(chunk)
    entries_N[numbers[is_there]] = found[is_there]
    missing: list[int] = numbers[~is_there].tolist()
    # Before the file is read: a change that comes after it gives another key.
    entries_N["key"][missing] = np.array(keys, dtype="S16")[~is_there]
    return missing


def _in_shares(
    pool: ThreadPoolExecutor, num_threads: int, work: Callable[[int], DoneT], numbers: Sequence[int]
) -> list[DoneT]:
    """`work` of each number, in order: a share for each thread, since a hand-over costs as much as a small file."""
    shares = [numbers[first::num_threads] for first in range(min(num_threads, len(numbers)))]
    parts = list(pool.map(lambda share: [work(number) for number in share], shares))
    return [parts[position % num_threads][position // num_threads] for position in range(len(numbers))]


def _say_what_is_odd(say: Callable[[str], None], entries_N: Entries, num_known: int, num_bad: int) -> None:
    if num_known:
        say(f"{num_known} of {len(entries_N)} images were looked at before, and have not changed")
    odd = Counter(entries_N["kind"][(entries_N["is_native"] == 0) & (entries_N["kind"] != b"")].tolist())
    if odd:
        kinds = ", ".join(f"{count} {kind.decode()}" for kind, count in odd.most_common())
        are = "is of a kind" if odd.total() == 1 else "are of kinds"
        say(f"{odd.total()} of {len(entries_N)} images {are} that Pillow decodes in every backend: {kinds}")
    if num_bad:
        say(f"{num_bad} of {len(entries_N)} images cannot be read and are left out")
