"""The statistics by hand: means over few-shot seeds, differences paired by student, spread over students."""

from dataclasses import replace

import pytest

from fdbpl.pipeline.reproduce.scores import Score, Setting, Trained, paired, pooled, sample_sd, scores_of

SMALL = Setting(split="grid", crops="small", teacher="strong", shots=4)
ORDINARY = Setting(split="grid", crops="ordinary", teacher="strong", shots=4)


def trained(row: str, student: int, seed: int, base: float, new: float, setting: Setting = SMALL) -> Trained:
    hm = 2 * base * new / (base + new)
    return Trained(setting=setting, row=row, student=student, seed=seed, base=base, new=new, hm=hm)


def score(row: str, student: int, hm: float, setting: Setting = SMALL) -> Score:
    return Score(setting=setting, row=row, student=student, num_seeds=1, base=hm, new=hm, hm=hm, sd=None)


def test_a_score_is_the_mean_over_few_shot_seeds() -> None:
    (found,) = scores_of([trained("kdpl", 1, 1, 60.0, 40.0), trained("kdpl", 1, 2, 70.0, 30.0)])
    assert (found.base, found.new, found.num_seeds) == (65.0, 35.0, 2)
    # Of the means, as the field reports it: the mean of the two own harmonic means, 48 and 42, is 45.
    assert found.hm == pytest.approx(45.5)
    assert found.sd == pytest.approx(4.242640687)


def test_one_seed_has_no_spread() -> None:
    (found,) = scores_of([trained("kdpl", 1, 1, 60.0, 40.0)])
    assert (found.hm, found.sd) == (48.0, None)
    assert sample_sd([3.0]) is None


def test_settings_methods_and_students_are_told_apart() -> None:
    found = scores_of(
        [
            trained("coop", 1, 1, 10.0, 10.0),
            trained("kdpl", 1, 1, 20.0, 20.0),
            trained("coop", 2, 1, 30.0, 30.0),
            trained("coop", 1, 1, 40.0, 40.0, ORDINARY),
            trained("coop", 1, 2, 20.0, 20.0),
        ]
    )
    assert [(one.setting.crops, one.row, one.student, one.hm) for one in found] == [
        ("small", "coop", 1, 15.0),
        ("small", "kdpl", 1, 20.0),
        ("small", "coop", 2, 30.0),
        ("ordinary", "coop", 1, 40.0),
    ]


def test_differences_are_paired_by_student() -> None:
    """Students differ by 20 points, the methods by 2 to 6 on each: a spread that is not paired would hide that."""
    scores = [
        *(score("kdpl", student, hm) for student, hm in ((1, 40.0), (2, 50.0), (3, 60.0))),
        *(score("fdbpl", student, hm) for student, hm in ((1, 42.0), (2, 54.0), (3, 66.0))),
        score("fdbpl", 1, 0.0, ORDINARY),
    ]
    found = paired(scores, SMALL, "fdbpl", "kdpl")
    assert found.differences == {1: 2.0, 2: 4.0, 3: 6.0}
    assert found.mean == 4.0
    assert found.standard_error == pytest.approx(2.0 / 3**0.5)
    assert found.is_clear


def test_the_sign_is_that_of_the_method_less_the_reference() -> None:
    scores = [score("kdpl", 1, 40.0), score("kdpl", 2, 40.0), score("coop", 1, 39.0), score("coop", 2, 37.0)]
    found = paired(scores, SMALL, "coop", "kdpl")
    assert (found.mean, found.standard_error) == (-2.0, 1.0)


def test_clear_is_more_than_two_standard_errors_on_either_side() -> None:
    def clear(*differences: float) -> bool:
        scores = [score("kdpl", student, 50.0) for student in range(len(differences))]
        scores += [score("fdbpl", student, 50.0 + value) for student, value in enumerate(differences)]
        return paired(scores, SMALL, "fdbpl", "kdpl").is_clear

    assert not clear(1.0, 3.0)  # mean 2, standard error 1: not more than two
    assert clear(1.25, 3.0)
    assert clear(-1.25, -3.0)
    assert not clear(5.0)  # one student has no spread, and shows nothing


def test_the_reference_differs_by_nothing_from_itself() -> None:
    found = paired([score("kdpl", 1, 40.0), score("kdpl", 2, 50.0)], SMALL, "kdpl", "kdpl")
    assert (found.mean, found.standard_error, found.is_clear) == (0.0, 0.0, False)


def test_only_students_that_have_both_are_paired() -> None:
    scores = [score("kdpl", 1, 40.0), score("kdpl", 2, 50.0), score("fdbpl", 2, 51.0), score("fdbpl", 3, 99.0)]
    assert paired(scores, SMALL, "fdbpl", "kdpl").differences == {2: 1.0}
    with pytest.raises(ValueError, match="found no student of both coop and kdpl"):
        paired(scores, SMALL, "coop", "kdpl")


def test_over_all_settings_each_student_counts_once() -> None:
    scores = [
        *(score("kdpl", student, 50.0, setting) for student in (1, 2) for setting in (SMALL, ORDINARY)),
        score("fdbpl", 1, 52.0),
        score("fdbpl", 1, 56.0, ORDINARY),
        score("fdbpl", 2, 51.0),
        score("fdbpl", 2, 51.0, ORDINARY),
    ]
    found = pooled(scores, "fdbpl", "kdpl")
    assert found.differences == {1: 4.0, 2: 1.0}
    assert (found.mean, found.standard_error) == (2.5, pytest.approx(1.5))


def test_what_is_rejected_is_averaged_and_paired_like_accuracy() -> None:
    several = [replace(trained("kdpl", 1, seed, 60.0, 40.0), rejects={"unlisted": 70.0 + seed}) for seed in (1, 3)]
    (one,) = scores_of(several)
    assert one.rejects == {"unlisted": 72.0}
    other = replace(one, row="fdbpl", rejects={"unlisted": 75.0})
    assert paired([one, other], SMALL, "fdbpl", "kdpl", "unlisted").differences == {1: 3.0}
