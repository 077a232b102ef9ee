"""One bit of every byte of every file of a sealed store is flipped: `verify` sees it, and no reader is misled."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
from small_store import build, is_right, wanted

from fdbpl.cache_layout.errors import CacheError
from fdbpl.cache_layout.reader import open_reader
from fdbpl.cache_layout.verify import verify

# Newer Pythons warn of every fork beside threads; zarr-python keeps some, and resets them in the child.
pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")


def what_a_reader_makes_of_it(path: Path, expected: dict[str, Any]) -> str:
    """`right`, `wrong`, `refused`, or the error that leaked."""
    try:
        with open_reader(path, check_planes=True) as reader:
            return "right" if is_right(reader, expected) else "wrong"
    except (CacheError, ValueError):
        return "refused"
    except Exception as error:  # noqa: BLE001, RUF100 - any other error is what the test looks for
        return f"leaked {error!r}"


def flip_all(path: Path, share: int, num_shares: int, bits: tuple[int, ...] = ()) -> tuple[int, int, list[str]]:
    """Flip a bit of every byte, undo it, go on; flips, flips found, and what went wrong.

    Every `num_shares`-th byte, from `share` on. The bit goes with the position, so that all bits occur; `bits`
    to flip others.
    """
    warnings.simplefilter("ignore")  # zarr-python's, of files that were flipped
    expected = wanted(path)
    flips = found = 0
    faults: list[str] = []
    for file in sorted(each for each in path.rglob("*") if each.is_file()):
        file.chmod(0o644)
        with file.open("r+b", buffering=0) as raw:
            size = os.fstat(raw.fileno()).st_size
            for position in range(share, size, num_shares):
                before = os.pread(raw.fileno(), 1, position)
                for bit in bits or (position % 8,):
                    os.pwrite(raw.fileno(), bytes([before[0] ^ 1 << bit]), position)
                    where = f"{file.relative_to(path)}, byte {position}, bit {bit}"
                    flips += 1
                    if verify(path, keep_state=False).findings:
                        found += 1
                    else:
                        faults.append(f"{where}: not found")
                    outcome = what_a_reader_makes_of_it(path, expected)
                    if outcome not in ("right", "refused"):
                        faults.append(f"{where}: {outcome}")
                os.pwrite(raw.fileno(), before, position)
    return flips, found, faults


@pytest.mark.slow
def test_one_bit_of_every_byte_of_every_file(tmp_path, tell):
    build(tmp_path / "0")
    shares = len(os.sched_getaffinity(0))
    for share in range(1, shares):
        shutil.copytree(tmp_path / "0", tmp_path / f"{share}")
    total = sum(each.stat().st_size for each in (tmp_path / "0").rglob("*") if each.is_file())
    with multiprocessing.get_context("fork").Pool(shares) as pool:
        results = pool.starmap(flip_all, [(tmp_path / f"{share}", share, shares) for share in range(shares)])
    flips, found = (sum(result[at] for result in results) for at in (0, 1))
    faults = [fault for result in results for fault in result[2]]
    tell(f"{flips} flips, {found} found")
    assert not faults, "\n".join(faults[:20])
    assert flips == found == total
    assert not verify(tmp_path / "0").findings
