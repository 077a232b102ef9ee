"""Few-shot subsets that are given: known by the ends of their paths, checked, and part of a student's identity."""

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from coop import Datum, dassl_is_there

from fdbpl.pipeline.config import RunConfig, StudentConfig
from fdbpl.pipeline.data.load import load_data, subset_ids, training_set
from fdbpl.pipeline.datasets.data_set import NONE, DataSet, Split
from fdbpl.pipeline.datasets.subset_file import given_subset, subset_content
from fdbpl.pipeline.students.checked import student_plans
from fdbpl.pipeline.students.plan import StudentPlan
from fdbpl.pipeline.training.student_record import student_identity

MakeConfig = Callable[..., RunConfig]
StudentTable = Callable[..., dict[str, Any]]
PATHS = ("cat/1.jpg", "cat/2.jpg", "cat/3.jpg", "dog/1.jpg", "dog/2.jpg", "a/dog/1.jpg")
LABELS = (0, 0, 0, 1, 1, 2)
Entry = tuple[str, int]


def pets(folder: Path, pattern: str = "few/shot_{shots}-seed_{seed}.json") -> DataSet:
    train = Split(paths=PATHS, labels=LABELS)
    names = ("cat", "dog", "old dog")
    return DataSet(
        name="pets", root=folder, class_names=names, train=train, val=NONE, test=NONE, subsets=str(folder / pattern)
    )


def write_json(path: Path, entries: list[Entry]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"train": [[image, label, f"name {label}"] for image, label in entries], "val": []}))


def write_pickle(path: Path, entries: list[Entry]) -> None:
    """As CoOp does."""
    with dassl_is_there():
        content = pickle.dumps({"train": [Datum(image, label) for image, label in entries], "val": []})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


GOOD: list[Entry] = [
    ("/home/someone/data/pets/images/dog/2.jpg", 1),
    ("/home/someone/data/pets/images/a/dog/1.jpg", 2),
    ("cat/3.jpg", 0),
    ("./cat/1.jpg", 0),
]


@pytest.mark.parametrize(("ending", "write"), [("json", write_json), ("pkl", write_pickle)])
def test_images_are_known_by_the_ends_of_their_paths(
    ending: str, write: Callable[[Path, list[Entry]], None], tmp_path: Path
) -> None:
    """The longest end counts: a/dog/1.jpg is not dog/1.jpg. Their order is kept."""
    data = pets(tmp_path, f"few/shot_{{shots}}-seed_{{seed}}.{ending}")
    write(tmp_path / "few" / f"shot_2-seed_7.{ending}", GOOD)
    assert given_subset(data, 2, 7).tolist() == [4, 5, 2, 0]
    assert subset_ids(data, 2, 7).tolist() == [4, 5, 2, 0]


def test_a_repeated_image_stays_repeated(tmp_path: Path) -> None:
    write_json(tmp_path / "few" / "shot_2-seed_1.json", [*GOOD, ("dog/2.jpg", 1)])
    assert given_subset(pets(tmp_path), 2, 1).tolist() == [4, 5, 2, 0, 4]


def test_base_classes_are_taken_after_the_subset(tmp_path: Path) -> None:
    write_json(tmp_path / "few" / "shot_2-seed_1.json", GOOD)
    table = StudentConfig(model="ViT-B-32", pretrained="openai", shots=(2, 0))
    choices = {"learner": "coop", "objective": "kdpl", "supervision": "cached"}
    student = StudentPlan(config=table, shots=2, seed=1, **choices)
    found = training_set(pets(tmp_path), student)
    assert (found.class_names, found.image_ids_M.tolist(), found.labels_M.tolist()) == (
        ("cat", "dog"),
        [4, 2, 0],
        [1, 0, 0],
    )
    every = training_set(pets(tmp_path), replace(student, shots=0))
    assert every.image_ids_M.tolist() == [0, 1, 2, 3, 4], "all images are no few-shot subset"


def test_one_file_may_serve_all_seeds(tmp_path: Path) -> None:
    write_json(tmp_path / "one.json", GOOD)
    data = pets(tmp_path, "one.json")
    assert given_subset(data, 2, 1).tolist() == given_subset(data, 2, 2).tolist()


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "few" / "shot_2-seed_1.json"
    write_json(path, GOOD)
    assert given_subset(pets(tmp_path), 2, 1).tolist() == [4, 5, 2, 0]
    write_json(path, [("dog/1.jpg", 1), *GOOD[1:]])
    assert given_subset(pets(tmp_path), 2, 1).tolist() == [3, 5, 2, 0]


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (
            [*GOOD, ("/x/cow/1.jpg", 0), ("/x/cow/2.jpg", 0)],
            r"found 2 images that the train list of pets does not have \(/x/cow/1\.jpg, /x/cow/2\.jpg\), expected all",
        ),
        ([*GOOD[1:], ("dog/2.jpg", 0)], r"found the label 0 of dog/2\.jpg, expected 1, as pets has it"),
        ([*GOOD, ("cat/2.jpg", 0)], "found 1 classes without 1 to 2 images: class 0 has 3"),
        (GOOD[2:], "found 2 classes without 1 to 2 images: class 1 has 0, class 2 has 0"),
    ],
)
def test_a_subset_that_does_not_fit_is_refused(entries: list[Entry], message: str, tmp_path: Path) -> None:
    write_json(tmp_path / "few" / "shot_2-seed_1.json", entries)
    with pytest.raises(ValueError, match=rf"shot_2-seed_1\.json: {message}"):
        given_subset(pets(tmp_path), 2, 1)


def test_excluded_images_are_told_as_such(tmp_path: Path) -> None:
    write_json(tmp_path / "few" / "shot_2-seed_1.json", GOOD)
    data = pets(tmp_path).without({"dog/2.jpg"})
    with pytest.raises(ValueError, match=r"dog/2\.jpg\), expected all of them in it; 1 of them cannot be read and are"):
        given_subset(data, 2, 1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "expected {"),
        ('{"train": [["a.jpg", 0]]}', "expected {"),
        ('{"train": 1}', "expect"),
    ],
)
def test_other_json_is_told(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text(content)
    with pytest.raises(ValueError, match=rf"one\.json:? {message}"):
        given_subset(pets(tmp_path, "one.json"), 2, 1)


def test_what_is_written_is_read_as_it_was(tmp_path: Path) -> None:
    write_json(tmp_path / "few" / "shot_2-seed_1.json", GOOD)
    data = pets(tmp_path)
    content = subset_content(data, given_subset(data, 2, 1))
    assert json.loads(content) == {
        "train": [
            ["dog/2.jpg", 1, "dog"],
            ["a/dog/1.jpg", 2, "old dog"],
            ["cat/3.jpg", 0, "cat"],
            ["cat/1.jpg", 0, "cat"],
        ]
    }
    (tmp_path / "again.json").write_bytes(content)
    assert given_subset(replace(data, subsets=str(tmp_path / "again.json")), 2, 1).tolist() == [4, 5, 2, 0]


def test_a_student_is_another_where_its_subset_is(
    make_config: MakeConfig, student_table: StudentTable, shared: Path, tmp_path: Path
) -> None:
    """By the images that it has: the same ones from another machine's folders are the same subset."""

    def config(few_shot: str) -> RunConfig:
        section = {"name": "world", "folder": "world", "split": "split_world.json", "few_shot": few_shot}
        return make_config(
            data=section, student=[student_table(shots=2, seeds=[1]), student_table(name="all", shots=0)]
        )

    def identities(few_shot: str) -> list[dict[str, Any]]:
        run = config(few_shot)
        data = load_data(run.data)
        return [student_identity(run, plan, data) for plan in student_plans(run)]

    drawn = config("")
    data = load_data(drawn.data)
    chosen = subset_ids(data, 2, 1).tolist()
    entries = [(data.train.paths[place], data.train.labels[place]) for place in chosen]
    pattern = str(tmp_path / "shot_{shots}-seed_{seed}.json")
    path = tmp_path / "shot_2-seed_1.json"

    write_json(path, entries)
    given = identities(pattern)
    write_json(path, [(f"/elsewhere/{image}", label) for image, label in entries])
    assert identities(pattern) == given
    other = next(
        place for place in range(len(data.train)) if place not in chosen and data.train.labels[place] == entries[0][1]
    )
    write_json(path, [(data.train.paths[other], entries[0][1]), *entries[1:]])
    changed = identities(pattern)
    assert changed[0] != given[0]
    assert {key for key in given[0] if given[0][key] != changed[0][key]} == {"few_shot"}
    assert changed[1] == given[1] == identities("")[1], "a student of all images has no subset"
    assert "few_shot" not in identities("")[0]
