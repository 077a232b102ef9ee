"""Sharing work on many files among threads: reading, decoding and resizing release the interpreter's lock."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

ItemT = TypeVar("ItemT")
DoneT = TypeVar("DoneT")


def in_threads(work: Callable[[ItemT], DoneT], items: Sequence[ItemT]) -> list[DoneT]:
    """`work` of each item, in order, on as many threads as torch has; the error of the first item that has one is
    raised.

    Within each of them torch uses one thread: two levels of threads cost a quarter of the speed. The threads live for
    this call only, since a process that is forked later would not have them.
    """
    num_threads = min(torch.get_num_threads(), len(items))
    if num_threads <= 1:
        return [work(item) for item in items]
    # A share for each thread, not a task for each item: a hand-over costs as much as a small image's header.
    shares = [range(first, len(items), num_threads) for first in range(num_threads)]
    done: list[DoneT | None] = [None] * len(items)
    errors: dict[int, BaseException] = {}

    def run(share: range) -> None:
        torch.set_num_threads(1)
        for position in share:
            try:
                done[position] = work(items[position])
            except Exception as error:  # noqa: BLE001 - raised below, in the order of the items
                errors[position] = error
                return

    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(num_threads, thread_name_prefix="fdbpl-decode") as pool:
            for future in [pool.submit(run, share) for share in shares]:
                future.result()
    finally:
        # A thread's setting is its own, but becomes the default of those to come.
        torch.set_num_threads(before)
    if errors:
        raise errors[min(errors)]
    return done  # type: ignore[return-value]  # each place is filled where there was no error
