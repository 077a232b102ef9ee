"""From trained prompts to means, paired differences and their spread: pure functions.

A *score* is what one pretrained student reaches by one method in one setting: the means over its few-shot seeds. A
method is compared with the reference on the same students, each with itself, and the spread is that over students:
however many few-shot seeds one student has, it is one student.
"""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What students of all methods have in common."""

    split: str
    crops: str
    teacher: str
    shots: int


@dataclass(frozen=True, kw_only=True)
class Trained:
    """Accuracies, in percent, of the prompts of one training: a method, a pretrained student, a few-shot seed."""

    setting: Setting
    row: str
    student: int
    seed: int
    base: float
    new: float
    hm: float
    rejects: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Score:
    """Means over few-shot seeds, of what it rejects by name too; hm is that of the mean base and new accuracy, sd the
    sample standard deviation of the trainings' own hm (None of one)."""

    setting: Setting
    row: str
    student: int
    num_seeds: int
    base: float
    new: float
    hm: float
    sd: float | None
    rejects: Mapping[str, float] = field(default_factory=dict)

    def value(self, key: str) -> float:
        """hm, or one of what it rejects."""
        return self.hm if key == "hm" else self.rejects[key]


@dataclass(frozen=True, kw_only=True)
class Paired:
    """A method's value less that of the reference, for each pretrained student.

    Attributes:
        differences: student -> difference in points.
        mean: over students.
        standard_error: of that mean, over students; None of one student.
    """

    differences: dict[int, float]
    mean: float
    standard_error: float | None

    @property
    def is_clear(self) -> bool:
        """Whether the mean is more than two standard errors from zero."""
        return self.standard_error is not None and abs(self.mean) > 2 * self.standard_error


def scores_of(trained: Iterable[Trained]) -> list[Score]:
    """A score for each setting, method and student, in the order of their first training."""
    groups: dict[tuple[Setting, str, int], list[Trained]] = {}
    for one in trained:
        groups.setdefault((one.setting, one.row, one.student), []).append(one)
    return [_score(group) for group in groups.values()]


def _score(group: Sequence[Trained]) -> Score:
    base, new = (statistics.fmean(values) for values in zip(*((one.base, one.new) for one in group), strict=True))
    return Score(
        setting=group[0].setting,
        row=group[0].row,
        student=group[0].student,
        num_seeds=len(group),
        base=base,
        new=new,
        hm=statistics.harmonic_mean([base, new]),
        sd=sample_sd([one.hm for one in group]),
        rejects={key: statistics.fmean(one.rejects[key] for one in group) for key in group[0].rejects},
    )


def paired(scores: Iterable[Score], setting: Setting, row: str, reference: str, key: str = "hm") -> Paired:
    """A method against the reference in one setting, over the students that have both.

    Raises:
        ValueError: no student has both.
    """
    by_row: dict[str, dict[int, float]] = {row: {}, reference: {}}
    for score in scores:
        if score.setting == setting and score.row in by_row:
            by_row[score.row][score.student] = score.value(key)
    own, other = by_row[row], by_row[reference]
    differences = {student: own[student] - other[student] for student in own if student in other}
    if not differences:
        raise ValueError(f"{setting}: found no student of both {row} and {reference}, expected one or more")
    return _spread_over_students(differences)


def pooled(scores: Iterable[Score], row: str, reference: str, key: str = "hm") -> Paired:
    """A method against the reference over all settings: each student's mean difference over the settings.

    Raises:
        ValueError: no student has both.
    """
    scores = list(scores)
    settings = dict.fromkeys(score.setting for score in scores if score.row == row)
    found = [paired(scores, setting, row, reference, key).differences for setting in settings]
    students = dict.fromkeys(student for differences in found for student in differences)
    return _spread_over_students(
        {
            student: statistics.fmean(differences[student] for differences in found if student in differences)
            for student in students
        }
    )


def _spread_over_students(differences: dict[int, float]) -> Paired:
    sd = sample_sd(list(differences.values()))
    return Paired(
        differences=differences,
        mean=statistics.fmean(differences.values()),
        standard_error=None if sd is None else sd / sqrt(len(differences)),
    )


def sample_sd(values: Sequence[float]) -> float | None:
    """The sample standard deviation; None of fewer than two values."""
    return statistics.stdev(values) if len(values) > 1 else None
