"""Running one task in this process: find its function, call it, record how it ended.

Whatever the function does (return, raise, exit, be stopped) ends in one final record; only a death of the
process leaves a record that says 'running', and then the backend ends it. What the task prints goes to its
own log file, at the level of file descriptors, so that C libraries and child processes are heard too. A task leaves no
environment variable behind for the next one of the process.
"""

import json
import os
import socket
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fdbpl.slurm.progress import Reporter, reporting
from fdbpl.slurm.records import Progress, State, TaskError, TaskRecord, read_record, write_record
from fdbpl.slurm.stage import TaskCall, resolve
from fdbpl.slurm.stopping import Stopped, StopSignals

# Exit codes of a process that ran one task; 75 is EX_TEMPFAIL: try again later.
EXIT_CODES: dict[State, int] = {"complete": 0, "failed": 1, "stopped": 75}


@dataclass(frozen=True, kw_only=True)
class _Ending:
    state: State
    result: dict[str, Any] | None = None
    error: TaskError | None = None


def run_task(call: TaskCall, signals: StopSignals, *, job: str | None = None) -> int:
    """Run a task and write its record.

    Args:
        call: the task.
        signals: raises Stopped in the function when the process is asked to stop.
        job: the Slurm job that this is.

    Returns:
        0 complete, 1 failed, 75 stopped.

    Raises:
        OSError: the record or the log cannot be written.
    """
    with _variables(call.environment):
        return _run_task(call, signals, job)


def _run_task(call: TaskCall, signals: StopSignals, job: str | None) -> int:
    paths = call.paths
    record = _begin(call, job)

    def write_progress(progress: Progress | None) -> None:
        write_record(paths, replace(record, progress=progress, updated=time.time()))

    reporter = Reporter(write_progress)
    with _output_to(paths.folder / record.log), reporter.heartbeat():
        ending = _call_function(call, signals, reporter)
    reporter.close()  # nothing may replace the final record
    now = time.time()
    final = replace(
        record,
        state=ending.state,
        result=ending.result,
        error=ending.error,
        progress=reporter.latest,
        first_report=reporter.first,
        ended=now,
        updated=now,
    )
    write_record(paths, final)
    return EXIT_CODES[ending.state]


def _begin(call: TaskCall, job: str | None) -> TaskRecord:
    paths = call.paths
    attempt = read_record(paths, call.task_id).attempt + 1
    now = time.time()
    record = TaskRecord(
        task_id=call.task_id,
        state="running",
        attempt=attempt,
        host=socket.gethostname(),
        pid=os.getpid(),
        started=now,
        updated=now,
        process_began=process_began(),
        log=paths.relative(paths.log(call.task_id, attempt)),
        job=job,
        gpu=os.environ.get("CUDA_VISIBLE_DEVICES", ""),
    )
    write_record(paths, record)
    return record


def process_began() -> float | None:
    """When this process began, seconds since 1970, to a hundredth; None where the kernel does not tell."""
    try:
        began = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
        return time.time() - (float(Path("/proc/uptime").read_text().split()[0]) - began)
    except (OSError, IndexError, ValueError):
        return None


def _call_function(call: TaskCall, signals: StopSignals, reporter: Reporter) -> _Ending:
    try:
        with signals.released(), reporting(reporter):
            function = resolve(call.function)
            result = function(Path(call.folder), call.task_id)
        _check_result(call.function, result)
    except (Stopped, KeyboardInterrupt) as stop:
        return _Ending(state="stopped", error=_describe(stop))
    except BaseException as error:  # noqa: BLE001 - even SystemExit is the record's matter
        # A signal often shows first as an error of the task's children or pipes.
        return _Ending(state="failed" if signals.received is None else "stopped", error=_describe(error))
    return _Ending(state="complete", result=result)


def _check_result(function: str, result: object) -> None:
    if result is not None and not isinstance(result, dict):
        raise TypeError(f"{function} returned {type(result).__name__}, expected a dict of JSON values, or None")
    try:
        json.dumps(result)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{function} returned what JSON cannot hold ({error}); return numbers and texts") from error


def _describe(error: BaseException) -> TaskError:
    """The error for the record, printed into the log as well."""
    text = traceback.format_exc()
    sys.stderr.write(text)
    bases = tuple(base.__name__ for base in type(error).__mro__[1:] if issubclass(base, Exception))
    return TaskError(type=type(error).__name__, message=str(error), traceback=text, bases=bases)


@contextmanager
def _variables(wanted: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables while the body runs; then undo that, and what else the body has changed."""
    before = dict(os.environ)
    os.environ.update(wanted)
    try:
        yield
    finally:
        # One by one: a thread that C code left behind may be reading the others.
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update({name: value for name, value in before.items() if os.environ.get(name) != value})


@contextmanager
def _output_to(log: Path) -> Iterator[None]:
    """Send descriptors 1 and 2 to the end of `log` while the body runs."""
    log.parent.mkdir(parents=True, exist_ok=True)
    _flush()
    saved = (os.dup(1), os.dup(2))
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        yield
    finally:
        _flush()
        for old, number in zip(saved, (1, 2), strict=True):
            os.dup2(old, number)
            os.close(old)
        os.close(descriptor)


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
