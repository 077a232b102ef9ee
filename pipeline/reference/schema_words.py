"""What a JSON schema says of a value, in words: `whole number above 0`, `list of text`."""

from typing import Any

from fdbpl.pipeline.reference.markdown import code

Schema = dict[str, Any]

_WORDS = {"integer": "whole number", "number": "number", "string": "text", "boolean": "`true` or `false`"}


def resolved(schema: Any, whole: Schema) -> Schema:
    """A part of a schema, with its reference followed; empty where there is none."""
    if not isinstance(schema, dict):
        return {}
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        found: Schema = whole["$defs"][name]
        return found
    return schema


def kind_of(schema: Schema, whole: Schema) -> str:
    """The values that a key takes."""
    found = resolved(schema, whole)
    if "anyOf" in found:
        kinds = [kind_of(one, whole) for one in found["anyOf"] if one.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if "enum" in found:
        return ", ".join(code(str(one)) for one in found["enum"])
    if "const" in found:
        return code(str(found["const"]))
    if "prefixItems" in found:
        return f"list of {len(found['prefixItems'])} numbers"
    if found.get("type") == "array":
        return f"list of {kind_of(found['items'], whole)}"
    if found.get("type") == "object":
        return "table"
    if found.get("format") == "path":
        return "path"
    return _WORDS[found["type"]] + _bounds(found)


def _bounds(schema: Schema) -> str:
    words = []
    if "exclusiveMinimum" in schema:
        words.append(f"above {schema['exclusiveMinimum']:g}")
    if "minimum" in schema:
        words.append(f"{schema['minimum']:g} or more")
    if "exclusiveMaximum" in schema:
        words.append(f"below {schema['exclusiveMaximum']:g}")
    return f", {', '.join(words)}" if words else ""
