"""A file of prompts that students begin with: what its header tells, held against the student. Imports no torch.

A header may tell less than all: files of older trainings do not say how they are used, and those that were imported do
not say in which precision they were learned. What it does not tell is not compared.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from fdbpl.pipeline.datasets.data_set import DataSet
from fdbpl.pipeline.own_code import plain_name
from fdbpl.pipeline.students.plan import StudentPlan
from fdbpl.pipeline.weights import weights_source

# In the header of a file of prompts: how they are used, and of imported ones the model's weights by content.
USE, SOURCE = "use", "source"
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, kw_only=True)
class StartFile:
    """`facts` of its header, and the shape of each tensor."""

    path: Path
    facts: dict[str, Any]
    shapes: Shapes

    @property
    def use(self) -> dict[str, Any]:
        found: dict[str, Any] = self.facts.get(USE, {})
        return found

    @property
    def source(self) -> str | None:
        """What names the weights that the prompts were learned on, as `weights_source` does."""
        learned: dict[str, Any] = self.facts.get("identity", {}).get("student", {})
        return self.facts.get(SOURCE) or learned.get("source")


def read_start_file(path: Path) -> StartFile:
    """Of the file its header alone. Raises ValueError where there is none, or it holds no prompts."""
    expected = "expected prompts: `fdbpl train` and `fdbpl import-prompts` write them"
    if not path.is_file():
        raise ValueError(f"found no file {path}, {expected}")
    try:
        with safe_open(path, framework="np") as file:
            facts = (file.metadata() or {}).get("fdbpl")
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in sorted(file.keys())}
    except SafetensorError as error:
        raise ValueError(f"found {path}, which is no safetensors file ({error}), {expected}") from error
    if facts is None:
        raise ValueError(f"found no fdbpl header in {path}, {expected}")
    return StartFile(path=path, facts=json.loads(facts), shapes=shapes)


def check_start_file(plan: StudentPlan) -> None:
    """Refuse a file of another learner, or whose prompts were learned on another model.

    Raises:
        ValueError: naming what differs; as `read_start_file`.
    """
    table = plan.config
    try:
        file = read_start_file(Path(table.prompts))
    except ValueError as error:
        raise ValueError(f"student {plan.id}: {error}") from error
    start = _start(plan, file)
    model = "prompts mean something only to the model that learned them"
    learner = file.use.get("learner")
    told = {**file.use.get("model", {}), "learner": None if learner is None else plain_name(learner)}
    if "imported_from" in file.facts:
        told.pop("precision", None)
    for key, found, why in (
        ("learner", plain_name(plan.learner), "each learner has prompts of its own"),
        ("model", table.model, model),
        ("precision", table.precision, model),
    ):
        expected = told.get(key)
        if expected is not None and found != expected:
            raise ValueError(
                f"{_start(plan, file)}: found {key} = {found!r}, expected {expected!r} as there, for {why}"
            )
    if file.source is not None and weights_source(table.pretrained) != file.source:
        raise ValueError(
            f"{start}: found pretrained = {table.pretrained!r}, {weights_source(table.pretrained)}, "
            f"expected {file.source}, the weights that learned them, for {model}"
        )


def check_start_fits(plan: StudentPlan, data: DataSet, class_names: Sequence[str], shapes: Shapes) -> None:
    """Refuse a file whose prompts do not fit a learner, or have learned what the student is to be tested on.

    Args:
        class_names: that the student is trained on.
        shapes: of all that the learner learns.

    Raises:
        ValueError: as said.
    """
    file = read_start_file(Path(plan.config.prompts))
    start = _start(plan, file)
    try:
        check_shapes(file.shapes, shapes)
    except ValueError as error:
        raise ValueError(f"{start}: {error}") from error
    seen = file.use.get("class_names", [])
    is_specific = getattr(plan.learner_options(), "class_specific", False)
    if seen and is_specific and list(class_names) != seen:
        raise ValueError(
            f"{start}: found contexts of {len(seen)} classes ({', '.join(seen[:3])}, …), expected those of "
            f"its own {len(class_names)} in their order, for class_specific contexts know their own classes only"
        )
    if plan.config.classes == "base" and set(data.class_names) <= set(seen):
        raise ValueError(
            f"{start}: found prompts that have learned from all {len(data.class_names)} classes of "
            f"{data.name}, expected none that know the new ones, which a student of classes = 'base' is tested on"
        )


def check_shapes(found: Shapes, expected: Shapes) -> None:
    """Refuse prompts to start from of which none has a name of the learner's, or one has another shape there.

    Raises:
        ValueError: as said.
    """
    shared = [name for name in expected if name in found]
    if not shared:
        raise ValueError(f"found prompts named {', '.join(found)}, expected one of {', '.join(expected)} to start from")
    ours, theirs = ({name: side[name] for name in shared} for side in (expected, found))
    if ours != theirs:
        raise ValueError(f"found prompts of shapes {theirs} to start from, expected {ours}: use the same context")


def _start(plan: StudentPlan, file: StartFile) -> str:
    return f"student {plan.id} starts from {file.path}"
