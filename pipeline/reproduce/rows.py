"""What is compared: each row of the tables is a `[[student]]` table of a config, with a name.

A further method or ablation is a line here: rows are told apart by their names alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Every difference is taken to this row's, for the same student.
REFERENCE = "kdpl"


@dataclass(frozen=True, kw_only=True)
class Row:
    """A method.

    Attributes:
        name: letters, digits and '_'; names its students' tables.
        label: for people.
        table: keys of its `[[student]]` table.
        score: by which score of `evaluation.rejection` it rejects, where that is measured.
    """

    name: str
    label: str
    table: Mapping[str, Any]
    score: str = "max_probability"

    def __post_init__(self) -> None:
        if not self.name.replace("_", "").isalnum():
            raise ValueError(f"found the row {self.name!r}, expected a name of letters, digits and '_'")

    @property
    def learner(self) -> str:
        return str(self.table.get("learner", "coop"))

    @property
    def objective(self) -> str:
        return str(self.table["objective"])


COMPARISON = (
    Row(name="coop", label="CoOp", table={"objective": "cross_entropy", "supervision": "hard"}),
    Row(name="kdpl", label="KDPL", table={"objective": "kdpl"}),
    Row(name="fdbpl", label="FDBPL", table={"objective": "fdbpl"}),
)


def _kdpl(name: str, label: str, **options: Any) -> Row:
    return Row(name=name, label=label, table={"objective": "kdpl", "objective_options": {"kdpl": options}})


def _fdbpl(name: str, label: str, *, score: str = "max_probability", learner: Any = None, **options: Any) -> Row:
    table = {"objective": "fdbpl", "objective_options": {"fdbpl": options}}
    table |= {"learner_options": {"coop": learner}} if learner else {}
    return Row(name=name, label=label, score=score, table=table)


# Each term of FDBPL taken out or set otherwise, and what of it KDPL can have.
ABLATION = (
    *COMPARISON,
    _fdbpl("published", "FDBPL as published", form="as_published"),
    _fdbpl("no_weights", "FDBPL without weights", weights="none"),
    _fdbpl("shuffled", "FDBPL, shuffled weights", weights="shuffled"),
    _kdpl("weighted", "FDBPL without negative prompts", weights="informative"),
    _fdbpl("no_rejection", "FDBPL without rejection", rejection=0.0),
    _fdbpl("no_separation", "FDBPL without separation", separation=0.0),
    _fdbpl("no_ranking", "FDBPL without ranking", ranking=0.0),
    _kdpl("forward", "KDPL, KL(T||S) alone", direction="forward"),
    _kdpl("warm", "KDPL at temperature 2", temperature=2.0),
    Row(name="pseudo", label="CE on the teacher's argmax", table={"objective": "pseudo_labels"}),
)
# Forms in which the negative prompt plays a part in what the positive one learns, or in the answer.
COUPLED = (
    Row(name="kdpl", label="KDPL", table={"objective": "kdpl"}),
    _fdbpl("fdbpl", "FDBPL", score="both"),
    _fdbpl("offset", "shared context and offset", score="both", learner={"coupling": "offset"}),
    _fdbpl("ranking", "ranking x 100", score="both", ranking=10.0),
    _fdbpl("subtract", "half of it subtracted", score="both", learner={"subtract": 0.5}),
    _fdbpl("presence", "presence", score="both", form="presence"),
    _fdbpl("presence_offset", "presence, with offset", score="both", form="presence", learner={"coupling": "offset"}),
)
# Those that had passed in the first study of them, which is to show again.
PASSED = tuple(row for row in COUPLED if row.name in (REFERENCE, "presence"))
# Which crop of an image an epoch uses.
VIEWS = (
    Row(name="kdpl", label="KDPL, cycle", table={"objective": "kdpl"}),
    Row(name="random", label="KDPL, random", table={"objective": "kdpl", "views": "random"}),
    Row(name="informative", label="KDPL, informative", table={"objective": "kdpl", "views": "informative"}),
    Row(
        name="importance",
        label="KDPL, informative with importance",
        table={"objective": "kdpl", "views": "informative", "importance": True},
    ),
    Row(name="curriculum", label="KDPL, curriculum", table={"objective": "kdpl", "views": "curriculum"}),
)
# What the weights do, and that it is the weights themselves that do it.
WEIGHTS = (
    *COMPARISON,
    _kdpl("weighted", "KDPL with weights", weights="informative"),
    _kdpl("shuffled", "KDPL, shuffled weights", weights="shuffled"),
)
