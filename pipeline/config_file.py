"""Reading a run's config from TOML: every fault of the file named at once, every path made absolute, and what the data
set's layout says filled in."""

import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from fdbpl.pipeline.config import DataConfig, RunConfig, StudentConfig, TeacherConfig
from fdbpl.pipeline.data.defaults import with_defaults
from fdbpl.pipeline.options import unknown_key
from fdbpl.pipeline.own_code import placed
from fdbpl.slurm.profile import profile_file

M = TypeVar("M", TeacherConfig, StudentConfig)


def read_config(path: Path, overrides: tuple[str, ...] = ()) -> RunConfig:
    """The config of a TOML file, with `a.b=value` overrides and with its paths made absolute.

    Raises:
        ValueError: no such file, TOML that does not parse, an unknown key (the valid ones are listed), or a
            value out of its range, all of them named at once; no site profile of that name.
    """
    return parse_config(read_values(path, overrides), base=path.resolve().parent, where=str(path))


def read_values(path: Path, overrides: tuple[str, ...] = ()) -> dict[str, Any]:
    """The plain values of a config file, not looked at yet. Raises ValueError: no such file, no TOML."""
    if path.is_dir():
        raise ValueError(f"found a folder at {path}, expected a config file, such as {path / 'fdbpl.toml'}")
    if not path.is_file():
        raise ValueError(f"found no config file at {path}, expected one: `fdbpl init {path}` writes it")
    try:
        values = tomllib.loads(path.read_bytes().decode())
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8, expected a TOML file: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is not valid TOML: {error}") from error
    for override in overrides:
        _set(values, override)
    return values


def parse_config(values: dict[str, Any], *, base: Path, where: str) -> RunConfig:
    """A config from plain values; relative paths are taken from `base`. Raises ValueError as read_config."""
    try:
        config = RunConfig.model_validate(values)
    except ValidationError as error:
        raise ValueError(f"{where}: " + "\n".join(_explain(error))) from error
    folder = base / config.folder
    if "\n" in str(folder):
        raise ValueError(f"{where}: folder: found {str(folder)!r}, expected no line break in it")
    try:
        data = _data(config.data, base)
        targets = tuple(_data(target, base) for target in config.evaluate.targets)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    return config.model_copy(
        update={
            "folder": folder,
            "data": data,
            "store": config.store.model_copy(update={"path": folder / config.store.path}),
            "teacher": _with_checkpoint(_asked_by(config.teacher, data), base),
            "student": tuple(_with_files(_with_checkpoint(student, base), base) for student in config.student),
            "evaluate": config.evaluate.model_copy(update={"targets": targets}),
            "cluster": config.cluster.model_copy(update={"profile": _profile_file(config.cluster.profile, base)}),
        }
    )


def _data(data: DataConfig, base: Path) -> DataConfig:
    return with_defaults(data.model_copy(update={"folder": base / data.folder}))


def _asked_by(teacher: TeacherConfig, data: DataConfig) -> TeacherConfig:
    """The teacher with the data set's own prompt, where it has none."""
    return teacher if teacher.templates else teacher.model_copy(update={"templates": (data.template,)})


def _with_checkpoint(section: M, base: Path) -> M:
    """A checkpoint file is meant relative to the config too; a tag stays a tag."""
    path = base / section.pretrained
    return section.model_copy(update={"pretrained": str(path)}) if path.is_file() else section


def _with_files(table: StudentConfig, base: Path) -> StudentConfig:
    """Other files that students use are meant relative to the config too."""
    named = {key: getattr(table, key) for key in ("vocabulary", "prompts")}
    files: dict[str, Any] = {key: str(base / name) for key, name in named.items() if name}
    own = {key: tuple(placed(one, base) for one in getattr(table, key)) for key in ("learner", "objective")}
    return table.model_copy(update=files | own)


def _profile_file(name: str, base: Path) -> str:
    """The file of a site profile, looked for from the config that names it; "" where it names none."""
    return str(profile_file(name, beside=base).resolve()) if name else ""


def _set(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals:
        raise ValueError(f"found the override {override!r}, expected key=value such as crops.seeds=8")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text  # a bare word is a string: the shell has eaten its quotes
    *parents, last = key.strip().split(".")
    table: Any = values
    try:
        for parent in parents:
            table = table[int(parent)] if isinstance(table, list) else table.setdefault(parent, {})
        table[last] = value
    except (TypeError, IndexError, ValueError, AttributeError) as error:
        raise ValueError(f"found the override {override!r}, but the config has no such place: {key.strip()}") from error


def _explain(error: ValidationError) -> list[str]:
    """One line for each fault: where, what was found, what is expected."""
    lines = []
    for fault in error.errors():
        place = [str(part) for part in fault["loc"] if part != "[key]"]
        if fault["type"] == "extra_forbidden":
            lines.append(unknown_key(".".join(place[:-1]) or "top level", place[-1], _known_keys(fault["loc"])))
        elif fault["type"] == "missing":
            lines.append(f"{'.'.join(place)}: found nothing, expected a value")
        else:
            message = fault["msg"].removeprefix("Value error, ")
            lines.append(f"{'.'.join(place)}: found {fault['input']!r}: {message}")
    return lines


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] = RunConfig
    for part in location[:-1]:
        if isinstance(part, int) or part not in model.model_fields:
            continue  # an element of a list, or of a table whose keys are names: its model is known already
        inner = model.model_fields[part].annotation
        arguments = [a for a in getattr(inner, "__args__", ()) if isinstance(a, type)]
        model = arguments[0] if arguments else inner  # type: ignore[assignment]  # every section is a model
    return list(model.model_fields)
