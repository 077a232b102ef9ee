"""Runs the chain that was saved in a run folder by the local pool, in a process that a test may end: FOLDER"""

import sys
from pathlib import Path

from fdbpl.slurm.chain import load_chain
from fdbpl.slurm.local_chain import run_here
from fdbpl.slurm.local_pool import LocalPool

if __name__ == "__main__":
    chain = load_chain(Path(sys.argv[1]))
    assert chain is not None
    run_here(chain, LocalPool(2))
