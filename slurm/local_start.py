"""A chain on this machine in the background: a process of its own, which goes on when the terminal is closed.

    python -m fdbpl.slurm.local_start FOLDER WORKERS    run the chain saved in FOLDER on so many workers (0: all)

Its output replaces that of the last one in records/driver.log; a signal that asks it to stop ends its tasks in
order.
"""

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from fdbpl.slurm.chain import Chain, load_chain
from fdbpl.slurm.chain_status import chain_status
from fdbpl.slurm.errors import NotStarted
from fdbpl.slurm.local_chain import run_here
from fdbpl.slurm.local_driver import driver_log, local_driver_lives, local_driver_pid
from fdbpl.slurm.local_pool import LocalPool
from fdbpl.slurm.logs import last_lines


def start_in_background(chain: Chain, max_workers: int | None, *, wait_seconds: float = 60.0) -> int | None:
    """Run a chain here without waiting for its end.

    Returns:
        The process that runs it: a new one, or that which does already; None where nothing was to be done.

    Raises:
        NotStarted: it ended at once; the message holds its last lines.
    """
    if local_driver_lives(chain.folder):
        return local_driver_pid(chain.folder)
    chain.save()
    log = driver_log(chain.folder)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "fdbpl.slurm.local_start", str(chain.folder), str(max_workers or 0)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + wait_seconds
    while local_driver_pid(chain.folder) != process.pid:
        if process.poll() is not None:
            if process.returncode == 0:
                return None
            raise NotStarted(f"the run ended as soon as it began (exit {process.returncode}):\n{last_lines(log)}")
        if time.monotonic() > deadline:
            raise NotStarted(f"the run has not begun within {wait_seconds:.0f} s; see {log}")
        time.sleep(0.02)
    return process.pid


def main(arguments: Sequence[str]) -> int:
    folder, workers = Path(arguments[0]), int(arguments[1])
    chain = load_chain(folder)
    assert chain is not None, f"{folder} has no chain"
    try:
        run_here(chain, LocalPool(workers or None))
    except KeyboardInterrupt:
        return 75
    return 0 if chain_status(chain).standing == "complete" else 4


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
