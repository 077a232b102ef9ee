"""The options of every learner and objective: their dataclasses' fields and defaults, with the lines of their
docstrings that say what each is."""

import inspect
import json
import re
from collections.abc import Iterator
from dataclasses import fields
from importlib import import_module
from typing import Any, get_type_hints

from pydantic import TypeAdapter

from fdbpl.pipeline.learners.catalog import LEARNERS
from fdbpl.pipeline.objectives.catalog import OBJECTIVES
from fdbpl.pipeline.reference.markdown import code, row, table
from fdbpl.pipeline.reference.schema_words import kind_of

_OPTION = re.compile(r"^(\w+(?:, \w+)*): (.*)$")


def option_tables() -> Iterator[str]:
    """A heading and a table for each learner, then for each objective, of config.md."""
    for kind, classes in (("learner", _learners()), ("objective", dict(OBJECTIVES))):
        for name, cls in classes.items():
            yield f"## `[student.{kind}_options.{name}]`\n"
            yield _options(cls)


def meanings(cls: type) -> dict[str, str]:
    """What each option of a dataclass is, by the `name: meaning` lines of its docstring and of those it comes from."""
    found: dict[str, str] = {}
    for parent in reversed(cls.__mro__):
        last: tuple[str, ...] = ()
        for line in inspect.cleandoc(parent.__dict__.get("__doc__") or "").splitlines():
            option = _OPTION.match(line)
            if option:
                last = tuple(option[1].split(", "))
                found.update(dict.fromkeys(last, option[2]))
            elif line.startswith(" "):  # goes on with the option above
                found.update({name: f"{found[name]} {line.strip()}" for name in last})
            else:
                last = ()
    return found


def _learners() -> dict[str, type]:
    places = {name: entry.options.partition(":") for name, entry in LEARNERS.items()}
    return {name: getattr(import_module(module), cls) for name, (module, _, cls) in places.items()}


def _options(cls: Any) -> str:
    if not fields(cls):
        return "It has no options.\n"
    types, told = get_type_hints(cls), meanings(cls)
    lines = table("option", "value", "default", "meaning")
    for field in fields(cls):
        schema = TypeAdapter(types[field.name]).json_schema()
        meaning = told.get(field.name, "").rstrip(".")
        lines.append(row(code(field.name), kind_of(schema, schema), code(json.dumps(field.default)), meaning))
    return "\n".join([*lines, ""])
