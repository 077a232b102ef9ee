"""The process that runs tasks. Three ways in, one way of running and recording (`tasks.run_task`):

    python -m fdbpl.slurm.worker FUNCTION FOLDER STAGE TASK    one task by hand; `--` before a task id like -x
    python -m fdbpl.slurm.worker --serve READ WRITE PARENT     the local pool's worker: tasks over a pipe
    run_in_slurm(function, folder, stage, tasks)               what a Slurm job calls

The exit code is that of the task: 0 complete, 1 failed, 75 stopped by a signal and resumable.
A serving worker costs its imports once for all its tasks, and dies with its parent, even one that is killed.
"""

import argparse
import ctypes
import os
import signal
import sys
from collections.abc import Sequence

from fdbpl.slurm.controller import ask
from fdbpl.slurm.errors import SlurmError
from fdbpl.slurm.records import read_record
from fdbpl.slurm.stage import TaskCall
from fdbpl.slurm.stopping import SIGNALS, Stopped, StopSignals, stop_signals
from fdbpl.slurm.tasks import EXIT_CODES, run_task

_PR_SET_PDEATHSIG = 1


def run_in_slurm(function: str, folder: str, stage: str, task_ids: Sequence[str], requeues: int = 0) -> None:
    """Run tasks one after another in a Slurm job, and exit with 0 where all are complete, else the worst code.

    It always leaves by SystemExit, so that submitit writes no pickle of a result or an error. A job that is told of its
    time limit puts itself back into the queue, `requeues` times at most: what it has published is not lost.
    """
    codes = []
    # submitit's own handlers ignore TERM and requeue on USR2: ours replace them until the process ends.
    with stop_signals() as signals:
        try:
            for task_id in task_ids:
                call = TaskCall(function=function, folder=folder, stage=stage, task_id=task_id)
                if signals.received is None and not _is_done(call):
                    codes.append(run_task(call, signals, job=_slurm_job()))
        finally:
            for signum in SIGNALS:
                signal.signal(signum, signal.SIG_IGN)
            # The job ends here; putting submitit's handlers back would requeue a job that is done.
        if signals.received == "SIGUSR2" and int(os.environ.get("SLURM_RESTART_COUNT", "0")) < requeues:
            _requeue()
        sys.exit(EXIT_CODES["stopped"] if signals.received else max(codes, default=0))


def _is_done(call: TaskCall) -> bool:
    """Whether an earlier start of this very job has completed the task."""
    record = read_record(call.paths, call.task_id)
    return record.state == "complete" and record.job == _slurm_job()


def _requeue() -> None:
    """Put this job back into the queue; where the site does not allow that, the step's check submits it again."""
    try:
        ask(["scontrol", "requeue", _slurm_job()], 30)
    except SlurmError as error:
        sys.stderr.write(f"not requeued: {error}\n")


def _slurm_job() -> str:
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    return os.environ["SLURM_JOB_ID"] if array is None else f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}"


def serve(read: int, write: int, parent: int) -> int:
    """Run the tasks that come on descriptor `read`, a JSON line each; answer exit codes on `write`."""
    _die_with(parent)
    with stop_signals() as signals:
        try:
            return _serve(read, write, signals)
        except Stopped:
            return EXIT_CODES["stopped"]


def _serve(read: int, write: int, signals: StopSignals) -> int:
    with os.fdopen(read, encoding="utf-8") as requests:
        while True:
            with signals.released():
                line = requests.readline()
            if not line:
                return 0
            code = run_task(TaskCall.from_json(line), signals)
            if code == EXIT_CODES["stopped"] or signals.received is not None:
                # No answer: it would be taken as a wish for another task.
                return EXIT_CODES["stopped"]
            os.write(write, f"{code}\n".encode())


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies; exit now where that has happened already."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:
        sys.exit(EXIT_CODES["stopped"])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m fdbpl.slurm.worker", description="Run one task.")
    parser.add_argument("--serve", nargs=3, type=int, metavar=("READ", "WRITE", "PARENT"), help=argparse.SUPPRESS)
    parser.add_argument("call", nargs="*", metavar="FUNCTION FOLDER STAGE TASK")
    options = parser.parse_args(arguments)
    if options.serve is not None:
        return serve(*options.serve)
    if len(options.call) != 4:
        parser.error(f"found {len(options.call)} arguments, expected four: FUNCTION FOLDER STAGE TASK")
    function, folder, stage, task_id = options.call
    call = TaskCall(function=function, folder=os.path.abspath(folder), stage=stage, task_id=task_id)  # noqa: PTH100
    with stop_signals() as signals:
        try:
            return run_task(call, signals)
        except Stopped:
            return EXIT_CODES["stopped"]


if __name__ == "__main__":
    sys.exit(main())
