"""`fdbpl inspect …` as it is typed: numbers, pages, and what is refused."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fdbpl.pipeline.config import RunConfig

Inspect = Callable[..., subprocess.CompletedProcess[str]]
FDBPL, KDPL = "coop-fdbpl-cached-seed1", "coop-kdpl-cached-seed1"


@pytest.fixture
def inspect(
    trained: RunConfig,
    write_config: Callable[..., Path],
    student_table: Callable[..., dict[str, Any]],
    call: Callable[..., subprocess.CompletedProcess[str]],
) -> Inspect:
    """Runs `fdbpl inspect WHAT run.toml …` on the trained run."""
    write_config(student=[student_table(objective=["fdbpl", "kdpl"], supervision=["cached"])])
    places = ["--set", f"folder={trained.folder}", "--set", f"store.path={trained.store.path}"]
    return lambda what, *arguments: call("inspect", what, "run.toml", *arguments, *places)


def documented(command: str) -> set[str]:
    """The keys that the reference says a command's object has."""
    reference = (Path(__file__).parents[3] / "docs" / "reference" / "json.md").read_text()
    (section,) = re.findall(rf"^### `fdbpl {command}`\n(.*?)^##", reference, flags=re.MULTILINE | re.DOTALL)
    return set(re.findall(r"^\| `(\w+)` \|", section, flags=re.MULTILINE))


@pytest.mark.parametrize(
    ("arguments", "cards", "figures"),
    [
        (["store"], 0, 2),
        (["crops", "--limit", "5"], 10, 0),
        (["image", "red_circle/train_0001"], 4, 0),
        (["student", KDPL, "--limit", "3"], 6, 1),
        (["prompts", FDBPL, "--class", "red_circle", "--limit", "2"], 4, 1),
    ],
)
def test_each_tells_numbers_and_writes_a_page_of_one_file(
    arguments: list[str], cards: int, figures: int, inspect: Inspect, tmp_path: Path
) -> None:
    done = inspect(*arguments, "--out", "page.html", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["page"] == "page.html" and told["store"].endswith("store.zarr")
    assert set(told) == documented(f"inspect {arguments[0]}")
    page = (tmp_path / "page.html").read_text()
    assert len(re.findall('<figure class="crop"', page)) == cards
    assert len(re.findall('<img class="crop-pixels', page)) == cards
    assert len(re.findall('aria-label="where the crop lies', page)) == (0 if arguments[0] == "image" else cards)
    assert len(re.findall('<figure class="drawing"', page)) == figures
    ids = re.findall(r'\sid="([^"]+)"', page)
    assert len(set(ids)) == len(ids)
    named = re.findall(r"(?:src|href|url\()=?[\"'(]?([a-z]+:[^\"')]{0,40})", page)
    assert all(name.startswith("data:") for name in named) and len(named) >= cards
    assert "data:image" not in done.stdout


def test_a_page_lies_in_the_run_by_what_was_asked(inspect: Inspect, trained: RunConfig) -> None:
    done = inspect("crops", "--class", "blue star", "--limit", "1")
    page = trained.folder / "inspect" / "crops-blue_star.html"
    assert done.stdout.splitlines()[-1] == f"page: {page}"
    assert page.exists()
    assert "the most informative" in done.stdout and "blue_star/" in done.stdout


def test_without_a_page_no_image_is_read(inspect: Inspect, shared: Path, tmp_path: Path) -> None:
    """There is none where this config says."""
    (tmp_path / "bare" / "images").mkdir(parents=True)
    shutil.copy(shared / "world" / "split_world.json", tmp_path / "bare")
    bare = ["--limit", "2", "--set", f"data.folder={tmp_path / 'bare'}"]
    done = inspect("crops", "--no-page", "--json", *bare)
    assert done.returncode == 0, done.stderr
    assert "page" not in json.loads(done.stdout)
    done = inspect("crops", *bare)
    assert done.returncode == 2 and "cannot be read" in done.stderr and "Traceback" not in done.stderr


def test_options_choose_images_crops_and_names(inspect: Inspect) -> None:
    def told(*arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(inspect(*arguments, "--no-page", "--json").stdout)
        return found

    assert told("crops", "--images", "5", "--seed", "1")["crops"] == 20
    assert [len(told("crops", "--class", "red circle", "--per-image", n)["most"]) for n in ("0", "1", "3")] == [
        12,
        4,
        12,
    ]
    half = told("store", "--names", "new")
    assert (half["classes"], half["crops"], len(half["by_class"])) == (16, 256, 16)
    drawn = [told("image", "--seed", seed)["image"] for seed in ("1", "1", "2")]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(told("image", "--limit", "3", "--top", "2")["crops"]) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["image", "red_circle/train_9999.jpg"], "image: found 'red_circle/train_9999.jpg', expected a path as in"),
        (["image", "red_circle"], "found 4 whose path has 'red_circle'"),
        (
            ["crops", "--class", "red circel"],
            "class: found 'red circel', expected a class of the data set (did you mean",
        ),
        (
            ["crops", "--names", "bas"],
            "class names: found 'bas', expected one of those there are (did you mean base",
        ),
        (["student", "coop-kdlp-cached-seed1"], f"(did you mean {KDPL}, {FDBPL}?)"),
        (["prompts", KDPL, "--class", "red circle"], "found the objective kdpl, which learns no negative prompts"),
        (["prompts", FDBPL, "--class", "green moon", "--names", "base"], "class: found 'green moon'"),
    ],
)
def test_wrong_input_is_told_in_one_message(arguments: list[str], message: str, inspect: Inspect) -> None:
    done = inspect(*arguments)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr


def test_there_must_be_a_sealed_store(write_config: Callable[..., Path], call: Inspect) -> None:
    write_config()
    done = call("inspect", "store", "run.toml")
    assert done.returncode == 2 and "store.zarr" in done.stderr and "Traceback" not in done.stderr
