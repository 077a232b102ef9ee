"""Complete configs to start from: a TOML file a preset holds what differs from the defaults, and the written file
shows every key with its meaning, so that it is the reference too."""

import json
import tomllib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.options import unknown_key
from fdbpl.pipeline.whole_file import replace_file

PRESETS = ("base-to-new", "few-shot", "cross-dataset", "domain-generalisation", "methods", "tiny")

_STUDENT = "[[student]]"
# Keys that hold a list of sections, written as a table each.
_LISTS = ("student", "targets")


def preset_values(name: str) -> dict[str, Any]:
    """What a preset sets. Raises ValueError for an unknown name."""
    return tomllib.loads(_text(name))


def preset_notes(name: str) -> list[list[str]]:
    """The comment lines of a preset's head, and those above each of its tables of students: whence its recipe is."""
    notes: list[list[str]] = []
    comments: list[str] = []
    for line in _text(name).splitlines():
        if line.startswith("#"):
            comments.append(line)
            continue
        if not notes or line == _STUDENT:
            notes.append(comments)
        comments = []
    return notes


def _text(name: str) -> str:
    if name not in PRESETS:
        raise ValueError(unknown_key("preset", name, list(PRESETS)))
    return files("fdbpl.pipeline.presets").joinpath(f"{name}.toml").read_text()


def write_preset(path: Path, name: str, values: dict[str, Any] | None = None) -> None:
    """Write a preset as a config file, or values that were made of it.

    Raises:
        ValueError: the file exists, or its folder does not; an unknown name.
    """
    if path.exists():
        raise ValueError(f"found {path} already, expected no file there: move it, or name another path")
    if not path.parent.is_dir():
        raise ValueError(f"found no folder {path.parent}, expected one to write {path.name} into")
    config = RunConfig.model_validate(preset_values(name) if values is None else values)
    replace_file(path, render(config, f"the preset {name!r}", preset_notes(name)).encode())


def render(config: RunConfig, origin: str, notes: Sequence[Sequence[str]] = ()) -> str:
    """A config as TOML with every key and, behind it, what it means; its head says whence it comes.

    Args:
        notes: comment lines for the head, then for each table of students.
    """
    head, *tables = notes or ((),)
    lines = [
        f"# A run of fdbpl, from {origin}. Relative paths are taken from this file's folder.",
        "# fdbpl submit runs all of it; teach, features, train and evaluate its steps. Each does only what is missing.",
        *(["#", *head] if head else []),
        "",
        *_keys(config),
    ]
    waiting = iter(tables)
    for line in _inner_tables("", config):
        lines += [*(next(waiting, ()) if line == _STUDENT else ()), line]
    return "\n".join(lines) + "\n"


def _table(header: str, path: str, section: BaseModel) -> list[str]:
    summary = " ".join((type(section).__doc__ or "").split())
    lines = ["", *([f"# {summary}"] if summary and "!!!" not in summary else []), header, *_keys(section)]
    return lines + _inner_tables(f"{path}.", section)


def _inner_tables(prefix: str, section: BaseModel) -> list[str]:
    """The tables below a section: of its sections, of lists of them, and of free options."""
    lines = []
    plain = section.model_dump(mode="json", exclude_none=True)
    for name, field in type(section).model_fields.items():
        path, value = f"{prefix}{name}", getattr(section, name)
        if isinstance(value, BaseModel):
            lines += _table(f"[{path}]", path, value)
        elif isinstance(value, dict):
            lines += _options(path, plain[name], field.description or "")
        elif name in _LISTS and not value and field.description:
            lines += ["", f"# [[{path}]]: {field.description}"]
        elif name in _LISTS:
            lines += [line for one in value for line in _table(f"[[{path}]]", path, one)]
    return lines


def _keys(section: BaseModel) -> list[str]:
    values = section.model_dump(mode="json")
    lines = []
    for name, field in type(section).model_fields.items():
        if isinstance(getattr(section, name), (BaseModel, dict)) or name in _LISTS:
            continue
        lines.append(f"{name} = {json.dumps(values[name])}".ljust(44) + f"  # {field.description}")
    return lines


def _options(path: str, value: dict[str, Any], description: str) -> list[str]:
    """Free tables: plain keys, or a table of options for each name."""
    lines = ["", f"# {description}", f"[{path}]"]
    lines += [f"{key} = {json.dumps(inner)}" for key, inner in value.items() if not isinstance(inner, dict)]
    for key, inner in value.items():
        if isinstance(inner, dict):
            told = [f"{name} = {json.dumps(option)}".ljust(44) for name, option in inner.items()]
            lines += [f"[{path}.{key}]", *(f"{line}  # option of {key}" for line in told)]
    return lines
