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
    """

    name: str
    label: str
    table: Mapping[str, Any]

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
