"""What the label of a WebDataset sample is: the text of its `.cls`, or `label` or `cls` of its `.json`.

Its class name comes from a list for all samples, or from `class_name` of the `.json`.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def sample_label(key: str, contents: Mapping[str, bytes], *, needs_name: bool) -> tuple[int, str]:
    """The label of the sample `key`, and its class name ("" where it is not asked for).

    Args:
        contents: of the members `key.cls` and `key.json`, by extension; the `.cls` goes before.

    Raises:
        ValueError: no label, or one that is no whole number; no class name where one is needed.
    """
    facts = _json(f"{key}.json", contents["json"]) if "json" in contents and (needs_name or len(contents) == 1) else {}
    label = _label(key, contents, facts)
    if not needs_name:
        return label, ""
    name = facts.get("class_name")
    if not isinstance(name, str) or not name:
        raise ValueError(f"found no class name of {key!r}, expected a file of class names, or class_name in {key}.json")
    return label, name


def _label(key: str, contents: Mapping[str, bytes], facts: Mapping[str, Any]) -> int:
    if "cls" in contents:
        text = contents["cls"].strip()
        if not text.isdigit():
            raise ValueError(f"{key}.cls: found {text[:20]!r}, expected a whole number of 0 or more")
        return int(text)
    label = facts.get("label", facts.get("cls"))
    if label is None:
        raise ValueError(f"found no label of {key!r}, expected {key}.cls, or {key}.json with label or cls")
    # A bool is an int to isinstance.
    if type(label) is not int or label < 0:
        raise ValueError(f"{key}.json: found the label {label!r}, expected a whole number of 0 or more")
    return label


def _json(name: str, content: bytes) -> dict[str, Any]:
    try:
        facts = json.loads(content)
    except ValueError as error:
        raise ValueError(f"{name} is not JSON: {error}") from error
    if not isinstance(facts, dict):
        raise ValueError(f"{name}: found {type(facts).__name__}, expected an object with label or cls")
    return facts


def read_class_names(path: Path) -> list[str]:
    """The class names of a text file, one a line; line n is label n. Raises ValueError."""
    try:
        names = path.read_text(encoding="utf-8").rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read the class names in {path}: {error}") from error
    names = [name.strip() for name in names]
    if not names or "" in names:
        raise ValueError(f"{path}: found an empty line, expected a class name on each: its number is the label")
    return names
