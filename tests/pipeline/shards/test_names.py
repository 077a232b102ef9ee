"""Patterns of shards: which files they mean, in which order, and what is told of those that are not there."""

from pathlib import Path

import pytest

from fdbpl.pipeline.shards.members import ShardError
from fdbpl.pipeline.shards.names import braces, find_shards


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.tar", ["a.tar"]),
        ("a-{08..11}.tar", ["a-08.tar", "a-09.tar", "a-10.tar", "a-11.tar"]),
        ("{9..11}", ["9", "10", "11"]),
        ("{0..2}", ["0", "1", "2"]),
        ("{2..0}", ["2", "1", "0"]),
        ("{b,a}-{0..1}", ["b-0", "b-1", "a-0", "a-1"]),
        ("{{0..1},{5..6},x}", ["0", "1", "5", "6", "x"]),
        ("open{1", ["open{1"]),
    ],
)
def test_braces_mean_what_a_shell_makes_of_them(text: str, expected: list[str]) -> None:
    assert list(braces(text)) == expected


def test_shards_are_found_in_any_part_of_the_path(tmp_path: Path) -> None:
    odd = tmp_path / "data [old] {1}"
    for name in ("train/2.tar", "train/10.tar", "train/.hidden.tar", "test/0.tar", "val[1].tar", "train/2.tar.index"):
        (odd / name).parent.mkdir(parents=True, exist_ok=True)
        (odd / name).touch()

    def found(pattern: str) -> list[str]:
        return [str(path.relative_to(odd)) for path in find_shards(odd / pattern)]

    assert found("train/*.tar") == ["train/10.tar", "train/2.tar"], "sorted as text"
    assert found("train/{2,10,2}.tar") == ["train/2.tar", "train/10.tar"], "in the order given, each once"
    assert found("{test,train}/*.tar") == ["test/0.tar", "train/10.tar", "train/2.tar"]
    assert found("val[1].tar") == ["val[1].tar"], "what exists is no pattern"
    assert found("test/0.tar") == ["test/0.tar"]


def test_missing_shards_are_named(tmp_path: Path) -> None:
    (tmp_path / "a-1.tar").touch()
    for pattern, message in (
        ("b.tar", "there is no shard .*/b.tar"),
        ("*-b.tar", r"found no shard .*/\*-b\.tar, expected at least one"),
        ("a-{0..7}.tar", r"found 1 of 8 shards .*missing a-0\.tar, a-2\.tar, a-3\.tar, a-4\.tar, a-5\.tar …: bring"),
        ("none/*.tar", "there is no folder .*/none"),
        ("a-1.tar/*.tar", "a-1.tar is no folder with shards: Not a directory"),
        ("a-{0..7}.tar.gz", "it is compressed"),
    ):
        with pytest.raises(ShardError, match=message):
            find_shards(tmp_path / pattern)
