"""Submits the chain that is saved in a run folder, waits for it, and says how it stands: FOLDER"""

import sys
from pathlib import Path

from fdbpl.slurm.chain import load_chain
from fdbpl.slurm.start import start, watch

if __name__ == "__main__":
    chain = load_chain(Path(sys.argv[1]))
    assert chain is not None
    start(chain)
    print(watch(chain, poll_seconds=0.1, squeue_seconds=0.1, settle_seconds=0.5).standing)
