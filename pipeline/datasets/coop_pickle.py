"""Reads the few-shot subsets that CoOp pickles, without unpickling them: no code of a file is ever run.

A pickle is a program for a stack machine. This is one that knows what lists of Dassl's Datum objects need and no more:
strings, whole numbers, lists, dicts, and one class, for which a record of ours stands. There is no import, no call and
no attribute in it, so whatever else a file asks for is refused, with the name of what it asked for. Costs 0.4 s for
16,000 entries; memory in proportion to the file.
"""

import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

_DATUM = {
    (module, "Datum")
    for package in ("dassl", "Dassl.dassl")
    for module in (f"{package}.data.datasets.base_dataset", f"{package}.data.datasets", f"{package}.data")
}


class _DatumClass:
    """Stands for the class Datum on the stack."""


class _Datum:
    """Stands for a Datum: its attributes as they were stored."""

    def __init__(self) -> None:
        self.attributes: dict[str, Any] = {}


def read_coop_pickle(path: Path) -> list[tuple[str, int]]:
    """The training images of a subset, as paths (absolute ones, of the machine that drew it) and labels.

    Raises:
        OSError: the file cannot be read.
        ValueError: a pickle of anything but CoOp's lists, or a damaged one.
    """
    found = _Machine(str(path)).run(path.read_bytes())
    items = found.get("train") if isinstance(found, dict) else None
    if not isinstance(items, list):
        raise ValueError(f"{path}: found no list 'train' in it, expected a few-shot subset as CoOp pickles it")
    return [_entry(path, number, item) for number, item in enumerate(items)]


def _entry(path: Path, number: int, item: Any) -> tuple[str, int]:
    attributes = item.attributes if isinstance(item, _Datum) else {}
    image, label = attributes.get("_impath"), attributes.get("_label")
    if not isinstance(image, str) or type(label) is not int:
        raise ValueError(f"{path}: train[{number}] is no Datum with a path and a whole number as its label")
    return image, label


class _Machine:
    """The stack machine; `where` is for messages."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def run(self, content: bytes) -> Any:
        """What the pickle holds. Raises ValueError as `read_coop_pickle`."""
        try:
            for opcode, argument, _ in pickletools.genops(content):
                if opcode.name in _PUSH_ARGUMENT:
                    self._stack.append(argument)
                elif opcode.name in _PUSH_NEW:
                    self._stack.append(_PUSH_NEW[opcode.name]())
                elif opcode.name in _STEPS:
                    _STEPS[opcode.name](self, argument)
                elif opcode.name not in _NOTHING:
                    self._refuse(f"the instruction {opcode.name}")
            return self._stack.pop()
        except _Refused as refusal:
            raise ValueError(str(refusal)) from None
        except (ValueError, LookupError, OverflowError, AttributeError, TypeError) as error:
            raise ValueError(f"{self._where} is cut short or damaged: {error}") from error

    def _refuse(self, what: str) -> NoReturn:
        raise _Refused(
            f"{self._where}: found {what} in it, expected a pickle of lists of Dassl's Datum; nothing of it was run"
        )

    def global_(self, argument: Any) -> None:
        module, _, name = str(argument).partition(" ")
        self._push_class(module, name)

    def stack_global(self, _argument: Any) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self._push_class(module, name)

    def instance(self, argument: Any) -> None:
        self._refuse(f"the global {str(argument).replace(' ', '.')}")

    def _push_class(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str) or (module, name) not in _DATUM:
            self._refuse(f"the global {module}.{name}" if isinstance(module, str) else "a global without a name")
        self._stack.append(_DatumClass)

    def new_object(self, _argument: Any) -> None:
        arguments, cls = self._stack.pop(), self._stack.pop()
        if cls is not _DatumClass or arguments != ():
            self._refuse("an object that is made with arguments")
        self._stack.append(_Datum())

    def build(self, _argument: Any) -> None:
        state, made = self._stack.pop(), self._stack[-1]
        if not isinstance(made, _Datum) or not isinstance(state, dict):
            self._refuse("a state that is no Datum's")
        made.attributes.update(state)

    def mark(self, _argument: Any) -> None:
        self._below.append(self._stack)
        self._stack = []

    def _since_mark(self) -> list[Any]:
        found = self._stack
        self._stack = self._below.pop()
        return found

    def append(self, _argument: Any) -> None:
        value = self._stack.pop()
        self._grow([value])

    def appends(self, _argument: Any) -> None:
        self._grow(self._since_mark())

    def _grow(self, values: list[Any]) -> None:
        if not isinstance(self._stack[-1], list):
            self._refuse("values that are added to no list")
        self._stack[-1].extend(values)

    def set_item(self, _argument: Any) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._set([key, value])

    def set_items(self, _argument: Any) -> None:
        self._set(self._since_mark())

    def _set(self, pairs: list[Any]) -> None:
        keys, values = pairs[::2], pairs[1::2]
        if not isinstance(self._stack[-1], dict) or not all(isinstance(key, str) for key in keys):
            self._refuse("entries that are set in no dict of strings")
        self._stack[-1].update(zip(keys, values, strict=True))

    def put(self, argument: Any) -> None:
        self._memo[argument] = self._stack[-1]

    def memoize(self, _argument: Any) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def get(self, argument: Any) -> None:
        self._stack.append(self._memo[argument])


class _Refused(Exception):
    """What the machine does not do."""


_NOTHING = {"PROTO", "FRAME", "STOP"}
_PUSH_ARGUMENT = {
    *("BININT", "BININT1", "BININT2", "LONG1"),
    *("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
}
_PUSH_NEW: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
}
_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    "GLOBAL": _Machine.global_,
    "STACK_GLOBAL": _Machine.stack_global,
    "INST": _Machine.instance,
    "NEWOBJ": _Machine.new_object,
    "BUILD": _Machine.build,
    "MARK": _Machine.mark,
    "APPEND": _Machine.append,
    "APPENDS": _Machine.appends,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "MEMOIZE": _Machine.memoize,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
}
