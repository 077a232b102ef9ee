"""Starting a run as a whole, and planning it: what is asked before anything is submitted, and what is told after."""

import math
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fdbpl.cache_layout.store import open_store
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.config_file import read_config
from fdbpl.pipeline.data.exclusions import check_excluded, run_data
from fdbpl.pipeline.data.kept_list import with_kept_list
from fdbpl.pipeline.data.load import check_trainable, load_data, training_set
from fdbpl.pipeline.evaluation.protocol import tests_of
from fdbpl.pipeline.run.find import as_argument, find_chain, name_of
from fdbpl.pipeline.run.provenance import last_submission, note_submission
from fdbpl.pipeline.run.state import CONFIG_VARIABLE
from fdbpl.pipeline.run.steps import kind_of, run_chain
from fdbpl.pipeline.run_folder import RunFolder
from fdbpl.pipeline.students.checked import student_plans
from fdbpl.slurm.backend import choose_kind
from fdbpl.slurm.chain import Chain, load_chain
from fdbpl.slurm.errors import SlurmError
from fdbpl.slurm.local_driver import local_driver_lives, local_driver_pid
from fdbpl.slurm.preview import preview


class Submission:
    """A config as it is to be run as a whole.

    Raises:
        ValueError: a config, students or a site profile that make no sense; all that is told by `read_config`.
    """

    def __init__(self, config: RunConfig, path: Path, *, grow: bool = False) -> None:
        """`path` is the config's file, which names the run for people."""
        self.path, self.grow = path, grow
        self.config: RunConfig = with_kept_list(config)
        self.chain: Chain = run_chain(self.config, grow=grow)

    @classmethod
    def read(cls, path: Path, overrides: tuple[str, ...] = (), *, grow: bool = False) -> "Submission":
        """That of a config file."""
        return cls(read_config(path, overrides), path, grow=grow)

    @cached_property
    def kind(self) -> tuple[str, str]:
        """Where it would run, and why there."""
        return choose_kind(self.config.cluster.kind)

    def check(self) -> None:
        """Refuse what tasks would refuse, as far as it is known before the teacher has run.

        Raises:
            ValueError, CacheError: data, students, models or a store that do not fit the config.
        """
        from fdbpl.pipeline.clip.backbone import check_names
        from fdbpl.pipeline.labels.grow import refuse, wanting
        from fdbpl.pipeline.labels.teach import check_encodings, check_maker
        from fdbpl.pipeline.training.dry_build import check_learners
        from fdbpl.pipeline.training.metrics import check_sinks

        data = run_data(self.config)
        check_trainable(data)
        tests = tests_of(self.config)
        plans = student_plans(self.config)
        for plan in plans:
            training_set(data, plan)
        for model in (self.config.teacher, *self.config.student):
            check_names(model.model, model.pretrained)
        for test in tests:
            if not len(load_data(test.data).test):
                raise ValueError(f"{test.data.name}: found no test image, expected some to measure on")
        check_learners(self.config, data, plans)
        check_sinks(self.config)
        if self.config.store.path.exists():
            store = open_store(self.config.store.path)
            check_maker(store, self.config)
            check_excluded(store, self.config, data)
            if not self.grow:
                refuse(store, self.config, wanting(store, self.config, data))
        else:
            check_encodings(self.config, data)

    def missing(self) -> dict[str, int]:
        """How many tasks of each step are missing. Writes nothing."""
        with _askable(self.chain, self.config) as asked:
            return {step.name: len(asked.todo(step).missing) for step in asked.steps}

    def plan(self, rates: list[str], *, measure: bool) -> dict[str, Any]:
        """What would be done, and what Slurm says to it, as JSON. Starts nothing.

        Args:
            rates: "STEP=UNITS_A_SECOND".
            measure: run the teacher on a few crops, here and now.
        """
        from fdbpl.pipeline.run.measure_rate import measured_rates
        from fdbpl.pipeline.run.plan import plan_run

        given = dict(self._parse_rate(rate) for rate in rates)
        self.check()
        known = measured_rates(self.config) if measure else {}
        with _askable(self.chain, self.config) as asked:
            planned = plan_run(self.config, asked, {**known, **given})
        kind, reason = self.kind
        for entry, step in zip(planned["steps"], self.chain.steps, strict=True):
            shown = preview(self.chain, step, entry["jobs"]) if kind == "slurm" and entry["jobs"] else None
            entry["script"] = shown.script if shown else ""
            entry["slurm"] = {"accepts": shown.is_accepted, "answer": shown.answer} if shown else None
        return {**planned, "backend": kind, "reason": reason, "profile": self.config.cluster.profile}

    def _parse_rate(self, text: str) -> tuple[str, tuple[float, str]]:
        step, _, number = text.partition("=")
        names = [one.name for one in self.chain.steps]
        known = dict.fromkeys([*names, *map(kind_of, names)])
        try:
            rate = float(number)
        except ValueError:
            rate = math.nan
        if step not in known or not 0 < rate < math.inf:
            raise ValueError(
                f"found --rate {text!r}, expected STEP=NUMBER such as teach=800, with one of {', '.join(known)}"
            )
        return step, (rate, "given")

    def submit(self, *, command: str) -> dict[str, Any]:
        """Check and start the run.

        Raises:
            ValueError, CacheError: as of `check`.
            SlurmError: Slurm refused.
        """
        self.check()
        return self.start(command=command)

    def start(self, *, command: str) -> dict[str, Any]:
        """Start the run, which has been checked; what is queued or running already is left to it. Raises SlurmError."""
        RunFolder(self.config.folder).save(self.config)
        return start_chain(
            self.chain,
            kind=self.config.cluster.kind,
            command=command,
            target=as_argument(name_of(self.path, self.config.folder)),
        )


def start_chain(chain: Chain, *, kind: str | None, command: str, target: str | None = None) -> dict[str, Any]:
    """Start a chain where it is to run (None: where it was started last), and tell what was done.

    Args:
        target: what a person types to name the run; its folder where None.

    Raises:
        ValueError: what is at work in the run folder is not this chain, or is so elsewhere.
    """
    from fdbpl.slurm.local_start import start_in_background
    from fdbpl.slurm.start import start

    chosen, reason = choose_kind(kind or last_submission(chain.folder).get("backend", "auto"))
    _refuse_other_work(chain, chosen)
    steps = []
    if chosen == "slurm":
        placed = start(chain)
        for name, one in placed.items():
            done = one.todo.total - len(one.todo.missing)
            steps.append(_told(name, len(one.submitted), len(one.attached), done))
    else:
        todos = {step.name: chain.todo(step) for step in chain.steps}
        is_at_work = local_driver_lives(chain.folder)
        pid = start_in_background(chain, max(step.resources.max_parallel or 1 for step in chain.steps))
        reason = f"{reason}; process {pid}" if pid else reason
        for name, todo in todos.items():
            missing = len(todo.missing)
            submitted, attached = (0, missing) if is_at_work else (missing, 0)
            steps.append(_told(name, submitted, attached, todo.total - missing))
    if any(step["submitted"] for step in steps):
        note_submission(chain, command=command, backend=chosen)
    return {
        "folder": str(chain.folder),
        "backend": chosen,
        "reason": reason,
        "steps": steps,
        "next": f"fdbpl status {shlex.quote(target or str(chain.folder))} --watch",
    }


def _refuse_other_work(chain: Chain, backend: str) -> None:
    """Raise ValueError where a process here works on the folder for another config or Slurm was asked for; or where
    this machine was, and jobs of the run are in Slurm's queue."""
    from fdbpl.slurm.start import living_arrays

    old = load_chain(chain.folder)
    found = ""
    if local_driver_lives(chain.folder):
        is_other = old is not None and old.environment != chain.environment
        if backend == "slurm" or is_other:
            pid = local_driver_pid(chain.folder)
            found = f"process {pid}" if pid else "a process on another machine"
            found += " at work, for another config" if is_other else " at work, without Slurm"
    elif backend == "local" and old is not None:
        arrays = sorted(living_arrays(old, patience_seconds=5), key=int)
        found = f"jobs of this run in Slurm's queue ({', '.join(arrays)})" if arrays else ""
    if found:
        raise ValueError(
            f"{chain.folder}: found {found}, expected none: wait for the end (`fdbpl status`), end it (`fdbpl cancel`; "
            "what is done is kept), or use another folder for this run"
        )


def _told(step: str, submitted: int, attached: int, done: int) -> dict[str, Any]:
    return {"step": step, "submitted": submitted, "attached": attached, "done": done}


def script_of(path: Path, step: str) -> dict[str, Any]:
    """The newest script of a step in the run folder, else the one that would be sent.

    Raises:
        ValueError: no such step.
        SlurmError: nothing was submitted, and there is no Slurm here to say what would be.
    """
    config = with_kept_list(read_config(path)) if path.is_file() else None
    chain = find_chain(path) if config is None else run_chain(config)
    names = [one.name for one in chain.steps]
    if step not in names:
        raise ValueError(f"found --step {step}, expected one of {', '.join(names)}")
    scripts = sorted(chain.paths(step).submitit.glob("*_submission.sh"), key=lambda script: script.stat().st_mtime)
    if scripts:
        return {"step": step, "submitted": str(scripts[-1]), "script": scripts[-1].read_text()}
    with nullcontext(chain) if config is None else _askable(chain, config) as asked:
        num_jobs = _num_jobs(asked, step)
    shown = preview(chain, chain.step(step), num_jobs)
    if not shown.script:
        raise SlurmError(f"found no script of {step} that was submitted, and none can be made here: {shown.answer}")
    return {"step": step, "submitted": None, "script": shown.script}


@contextmanager
def _askable(chain: Chain, config: RunConfig) -> Iterator[Chain]:
    """A chain that can be asked what is missing before its config is kept in the run folder: that stays as it is."""
    with TemporaryDirectory() as temporary:
        saved = str(RunFolder(Path(temporary)).save(config))
        yield replace(chain, environment={**chain.environment, CONFIG_VARIABLE: saved})


def _num_jobs(chain: Chain, step: str) -> int:
    """The number of jobs of a step's array, if all that is missing were submitted now."""
    found = chain.step(step)
    return max(1, -(-len(chain.todo(found).missing) // found.per_job))
