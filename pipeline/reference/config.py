"""The reference of the run's config and of site profiles, from the models that read them."""

import inspect
import json
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.reference.markdown import code, row, table
from fdbpl.pipeline.reference.option_tables import option_tables
from fdbpl.pipeline.reference.schema_words import Schema, kind_of, resolved
from fdbpl.slurm.profile import Profile

HEAD = """# The config

<!-- Made from the program by `make reference`. -->

One TOML file describes a run; `fdbpl init` writes a complete one, with every key and its meaning, and other keys are
refused. Relative paths are taken from the file's own folder. Any key may be set for one command:
`--set crops.seeds=8`, or `--set student.0.epochs=10` in the first `[[student]]` table. `learner`, `objective`,
`supervision`, `seeds` and `shots` may be one value in place of a list: `objective = "kdpl"`.

In the tables, *needed* is what has no default.
"""

PROFILE = """## Site profiles

What one cluster wants of every job, in a file `NAME.toml` beside the config, in `profiles/` there, or in
`~/.config/fdbpl/profiles/` ([how](../clusters.md#site-profiles)). The same keys may stand in `[cluster.slurm]`.
"""


def config_page() -> str:
    """docs/reference/config.md."""
    run = RunConfig.model_json_schema()
    site = Profile.model_json_schema()
    parts = [HEAD, *_section(run, run, "", level=2), *option_tables(), PROFILE, *_section(site, site, "", level=3)]
    return "\n".join(parts)


def _section(schema: Schema, whole: Schema, path: str, *, level: int) -> Iterator[str]:
    """The keys of a table, then those of the tables in it."""
    needed = schema.get("required", [])
    inner: list[tuple[str, Schema]] = []
    lines = table("key", "value", "default", "meaning")
    for name, field in schema["properties"].items():
        sections = dict(_sections_of(field, whole, f"{path}{name}"))
        inner += sections.items()
        if sections and (not field.get("description") or "items" in field):
            continue
        default = "*needed*" if name in needed else _default(field, whole)
        lines.append(row(code(name), kind_of(field, whole), default, field.get("description")))
    if len(lines) > 2:
        yield "\n".join([*lines, ""])
    for head, section in inner:
        yield f"{'#' * level} {code(head)}\n"
        about = _about(section)
        if about:
            yield f"{about}\n"
        yield from _section(section, whole, f"{head.strip('[]')}.", level=level)


def _sections_of(field: Schema, whole: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    """The table that a key is: [path], [[path]] where there may be several, [path.NAME] where each has a name."""
    found = resolved(field, whole)
    items, named = resolved(found.get("items"), whole), resolved(found.get("additionalProperties"), whole)
    if "properties" in found:
        yield f"[{path}]", found
    elif "properties" in items:
        yield f"[[{path}]]", items
    elif "properties" in named:
        yield f"[{path}.NAME]", named


def _about(section: Schema) -> str:
    return " ".join(inspect.cleandoc(section.get("description", "")).split())


def _default(field: Schema, whole: Schema) -> str:
    value: Any = field.get("default")
    if value is None or isinstance(value, (dict, BaseModel)) or (value == [] and "properties" in str(field)):
        return ""
    return code(json.dumps(value))
