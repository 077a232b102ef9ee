"""Building a catalogue's entry from a name and options that a person wrote."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")


def build(kind: str, catalogue: Mapping[str, type[T]], name: str, options: Mapping[str, Any]) -> T:
    """Make `catalogue[name](**options)`, a dataclass, with the options' types checked.

    Raises:
        ValueError: unknown name or option, or a value that the entry refuses.
    """
    if name not in catalogue:
        raise ValueError(f"found {kind} = {name!r}, expected one of {', '.join(sorted(catalogue))}")
    cls = catalogue[name]
    known = list(getattr(cls, "__dataclass_fields__", {}))
    for option in options:
        if option not in known:
            raise ValueError(unknown_key(f"{kind} {name}", option, known))
    try:
        return TypeAdapter(cls).validate_python(dict(options))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{kind} {name}: {where + ': ' if where else ''}{first['msg']}") from error


def unknown_key(where: str, key: str, known: list[str]) -> str:
    """The message for a key that does not exist, with the nearest that does."""
    near = get_close_matches(key, known, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return f"{where}: found the unknown key {key!r}{hint}, expected {', '.join(sorted(known)) or 'no option'}"
