"""Runs sample tasks in a process that a test may kill: PYTHONPATH FUNCTION FOLDER TASK…"""

import sys
from pathlib import Path

from fdbpl.slurm.local_pool import LocalPool
from fdbpl.slurm.stage import Stage

if __name__ == "__main__":
    python_path, function, folder, *task_ids = sys.argv[1:]
    stage = Stage(
        name="sample",
        function=f"sample_tasks:{function}",
        folder=Path(folder),
        task_ids=tuple(task_ids),
        environment={"PYTHONPATH": python_path},
    )
    LocalPool(2).run(stage)
