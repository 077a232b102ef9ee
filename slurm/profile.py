"""A site profile: what one cluster wants of every job, and what may be done when jobs fail there.

Read from a TOML file, so that no site's habits are in code. Unknown keys are refused.
"""

import os
import shlex
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Positive = Annotated[int, Field(gt=0)]
# The name of every step's checking job, in `steps` of a profile.
CHECK = "check"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RetryRules(_Section):
    """What is done about tasks that did not complete."""

    rounds: Positive = Field(3, description="times that a task is submitted before it is given up")
    memory_factor: float = Field(2.0, ge=1, description="after an out-of-memory death, ask for so many times more")
    max_memory_gb: float | None = Field(None, gt=0, description="but never for more than this")
    time_factor: float = Field(2.0, ge=1, description="after a time limit, ask for so many times more")
    max_minutes: float | None = Field(None, gt=0, description="but never for more than this")
    exclude_failed_nodes: bool = Field(True, description="keep a task away from a node that failed under it")
    max_excluded: int = Field(8, ge=0, description="nodes that a submission may exclude, the latest ones")
    requeues: int = Field(2, ge=0, description="times that a task at its time limit may requeue itself; 0: never")


class StepSite(_Section):
    """What jobs ask for beyond cores, memory and time."""

    partition: str | None = Field(None, description="partition, or several with commas")
    account: str | None = Field(None, description="account that is charged")
    qos: str | None = Field(None, description="quality of service")
    gres: str | None = Field(None, description="generic resources, such as gpu:a100:1 (then set gpus = 0)")
    constraint: str | None = Field(None, description="features that nodes must have")
    nodelist: str | None = Field(None, description="nodes that must be used")
    exclude: str | None = Field(None, description="nodes that must not be used")
    setup: tuple[str, ...] | None = Field(
        None, description="shell lines before Python starts; if one fails, the job does"
    )
    python: str | tuple[str, ...] | None = Field(
        None, description="Python of the jobs, also within a container: ['apptainer', 'exec', 'image.sif', 'python']"
    )
    srun_args: tuple[str, ...] | None = Field(None, description="for srun, such as --container-image=… (pyxis)")
    extra: dict[str, str | int | float | bool] = Field(
        default_factory=dict, description="any other option of sbatch, by its long name: reservation, nice, comment"
    )


class Profile(StepSite):
    """A cluster.

    `steps.NAME` says what is different for one step, or for the small jobs that check each step (`steps.check`).
    """

    signal_delay_seconds: Positive = Field(
        90, description="before the time limit, tasks are told this long ahead; Slurm may be 60 s early or late"
    )
    max_jobs: Positive | None = Field(None, description="jobs that you may have in the queue at a time (MaxSubmitJobs)")
    staging: str | None = Field(
        None,
        description="folder on each node's own disk: students read a copy of the store there; $NAMES are filled in",
    )
    steps: dict[str, StepSite] = Field(default_factory=dict, description="what differs, by step")
    retry: RetryRules = Field(default_factory=RetryRules, description="what is done about failures")

    def site_of(self, step: str) -> StepSite:
        """What the jobs of a step ask for: the profile's own, with the step's over it."""
        own = self.model_dump(include=set(StepSite.model_fields))
        other = self.steps.get(step, StepSite()).model_dump(exclude_unset=True)
        extra = {**own["extra"], **other.pop("extra", {})}
        return StepSite.model_validate({**own, **other, "extra": extra})

    def parameters(self, step: str) -> dict[str, Any]:
        """Keywords of submitit's SlurmExecutor for the jobs of a step, `python` among them."""
        site = self.site_of(step)
        named = ("partition", "account", "qos", "gres", "constraint", "nodelist", "exclude")
        parameters: dict[str, Any] = {name: value for name in named if (value := getattr(site, name)) is not None}
        # Without it a failing line, such as a module that is gone, would be passed over.
        parameters["setup"] = ["set -e", *site.setup] if site.setup else []
        if site.srun_args:
            parameters["srun_args"] = list(site.srun_args)
        if site.python:
            parameters["python"] = site.python if isinstance(site.python, str) else shlex.join(site.python)
        parameters["additional_parameters"] = {name.replace("-", "_"): value for name, value in site.extra.items()}
        return parameters


def profile_folders(beside: Path) -> tuple[Path, ...]:
    """Where profiles are looked for: beside the config, then in the user's own folder."""
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return (beside, beside / "profiles", home / "fdbpl" / "profiles")


def read_profile(name: str, *, beside: Path, changes: Mapping[str, Any] | None = None) -> Profile:
    """The profile of that name, with `changes` over its keys; "" is an empty one.

    Args:
        name: NAME of NAME.toml, or the path of a file.
        beside: the folder of the config that names it.

    Raises:
        ValueError: no such file, no TOML, or keys and values that a profile cannot have; all are named.
    """
    values: dict[str, Any] = {}
    where = "cluster.slurm"
    if name:
        path = profile_file(name, beside=beside)
        where = str(path)
        try:
            values = tomllib.loads(path.read_text())
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{path} is not valid TOML: {error}") from error
    try:
        return Profile.model_validate(_merged(values, changes or {}))
    except ValidationError as error:
        raise ValueError("\n".join(f"{where}: {_fault(fault)}" for fault in error.errors())) from error


def find_profile(name: str, *, beside: Path) -> Path | None:
    """The file of a profile, or None."""
    places = _places(name, beside) if name else []
    return next((place for place in places if place.is_file()), None)


def _places(name: str, beside: Path) -> list[Path]:
    return [beside / name, *(folder / f"{name}.toml" for folder in profile_folders(beside))]


def profile_file(name: str, *, beside: Path) -> Path:
    """The file of a profile; ValueError where there is none."""
    found = find_profile(name, beside=beside)
    if found is not None:
        return found
    places = _places(name, beside)
    looked = ", ".join(map(str, places[1:]))
    known = sorted({path.stem for folder in profile_folders(beside)[1:] for path in folder.glob("*.toml")})
    raise ValueError(f"found no profile {name!r}, expected one of {looked}; there are: {', '.join(known) or 'none'}")


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Both tables, inner ones too; what is above wins."""
    merged = dict(below)
    for key, value in above.items():
        inner = merged.get(key)
        merged[key] = _merged(inner, value) if isinstance(inner, Mapping) and isinstance(value, Mapping) else value
    return merged


def _fault(fault: Any) -> str:
    *parents, last = [str(part) for part in fault["loc"]] or [""]
    if fault["type"] != "extra_forbidden":
        return f"{'.'.join([*parents, last])}: found {fault['input']!r}: {fault['msg'].removeprefix('Value error, ')}"
    models: dict[str, type[BaseModel]] = {"retry": RetryRules, "steps": StepSite}
    model = models.get(parents[0] if parents else "", Profile)
    near = get_close_matches(last, model.model_fields, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return f"found the unknown key {'.'.join([*parents, last])}{hint}, expected {', '.join(sorted(model.model_fields))}"
