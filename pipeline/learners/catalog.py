"""Every learner by its name. A new one is a file beside this and a line here.

What a plan needs to know of a learner is said here, so that planning hundreds of students imports no torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from fdbpl.pipeline.options import build
from fdbpl.pipeline.own_code import own_class, own_file

if TYPE_CHECKING:
    from fdbpl.pipeline.learners.base import LearnerOptions


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What a plan asks of a learner.

    Attributes:
        options: where its options are.
        learns_text: whether it learns text, and so has a dual form.
        needs: what its views must bring.
        uses: what else of the run its values follow from: the data set's hand-written prompt, the teacher's texts.
        slow_to_evaluate: whether a test image costs it an encoder's pass, so that its evaluation is a task of its own.
        least_batch: views that a step takes at least.
        in_packs: whether it has `texts_together`, so that several train as one.
    """

    options: str
    learns_text: bool = True
    needs: frozenset[Literal["features", "pixels"]] = frozenset({"features"})
    uses: frozenset[Literal["template", "teacher"]] = frozenset()
    slow_to_evaluate: bool = False
    least_batch: int = 1
    in_packs: bool = False


_HERE = "fdbpl.pipeline.learners"
_PIXELS: frozenset[Literal["features", "pixels"]] = frozenset({"pixels"})
LEARNERS: Mapping[str, Entry] = {
    "coop": Entry(options=f"{_HERE}.coop:CoOpOptions", in_packs=True),
    "cocoop": Entry(options=f"{_HERE}.cocoop:CoCoOpOptions", slow_to_evaluate=True),
    "vpt": Entry(
        options=f"{_HERE}.vpt:VptOptions",
        learns_text=False,
        needs=_PIXELS,
        uses=frozenset({"template"}),
        slow_to_evaluate=True,
    ),
    "maple": Entry(options=f"{_HERE}.maple:MapleOptions", needs=_PIXELS, slow_to_evaluate=True),
    "promptsrc": Entry(
        options=f"{_HERE}.promptsrc:PromptSrcOptions", needs=_PIXELS | {"features"}, slow_to_evaluate=True
    ),
    "promptkd": Entry(
        options=f"{_HERE}.promptkd:PromptKdOptions",
        learns_text=False,
        needs=_PIXELS,
        uses=frozenset({"teacher"}),
        slow_to_evaluate=True,
        least_batch=2,  # it normalises over the batch
    ),
}


# What a class of options must have.
_OPTIONS = ("name", "build", "start_template", "starts")


def learner_entry(name: str) -> Entry:
    """Of a name of ours, or of a reference to a class of options, which may hold its own as `entry`.

    Raises:
        ValueError: an unknown name; as `own_class`.
    """
    if (file := own_file(name)) is not None:
        own = getattr(own_class(name, _OPTIONS), "entry", Entry(options=name))
        if not isinstance(own, Entry):
            raise ValueError(f"{file}: found `entry` as {type(own).__name__}, expected a learners.catalog.Entry")
        return own
    if name not in LEARNERS:
        raise ValueError(
            f"found learner = {name!r}, expected one of {', '.join(sorted(LEARNERS))}, or FILE.py:CLASS of your own"
        )
    return LEARNERS[name]


def learner_options(name: str, options: dict[str, Any]) -> "LearnerOptions":
    """The options of the learner of that name.

    Raises:
        ValueError: an unknown name or option, or an option of the wrong type; as `own_class`.
    """
    if own_file(name) is not None:
        kind = own_class(name, _OPTIONS)
    else:
        module, _, cls = learner_entry(name).options.partition(":")
        kind = getattr(import_module(module), cls)
    found: LearnerOptions = build("learner", {name: kind}, name, options)
    return found
