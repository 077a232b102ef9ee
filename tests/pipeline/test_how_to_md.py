"""The commands of the quick start and of the how-tos do what the pages say: they are run in order, on small images."""

import re
import shlex
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fdbpl.pipeline.config import ClusterConfig, StoreConfig, TeacherConfig
from fdbpl.slurm.profile import Profile

DOCS = Path(__file__).parents[2] / "docs"
# What is written into configs so that each runs in seconds.
SMALLER = (
    ("seeds = 16 ", "seeds = 2 "),
    ("seeds_per_block = 16 ", "seeds_per_block = 2 "),
    ("seeds = [1, 2, 3]", "seeds = [1]"),
    ("epochs = 200", "epochs = 2"),
)


def commands(page: str) -> list[str]:
    """The lines of a page's consoles, without their prompt."""
    blocks = re.findall(r"```console\n(.*?)```", (DOCS / page).read_text(), flags=re.DOTALL)
    return [line[2:] for block in blocks for line in block.splitlines()]


def tables(page: str) -> list[dict[str, Any]]:
    blocks = re.findall(r"```toml\n(.*?)```", (DOCS / page).read_text(), flags=re.DOTALL)
    return [tomllib.loads(block) for block in blocks]


def make_smaller(config: Path) -> None:
    text = config.read_text()
    for large, small in SMALLER:
        assert large in text
        text = text.replace(large, small)
    config.write_text(text)


@pytest.fixture
def photos(shared: Path, tmp_path: Path) -> None:
    """The small world's images as somebody's own: a folder for each class."""
    shutil.copytree(shared / "world" / "images", tmp_path / "photos")


@pytest.mark.slow
def test_the_first_run_leaves_what_its_table_says(call: Any, tmp_path: Path) -> None:
    for line in commands("how-to/first-run.md"):
        done = call(*shlex.split(line.replace("crops.seeds=32", "crops.seeds=4"))[1:])
        assert done.returncode == 0, (line, done.stderr)
        if line.startswith("fdbpl init"):
            make_smaller(tmp_path / "play" / "fdbpl.toml")
    assert {path.name for path in (tmp_path / "play" / "run").iterdir()} >= {
        "store.zarr",
        "students",
        "report.md",
        "results.json",
    }


@pytest.mark.slow
@pytest.mark.usefixtures("photos")
def test_the_quick_start_runs_until_public_weights_are_needed(run: Any, tmp_path: Path) -> None:
    lines = commands("quick-start.md")
    last = lines.index("fdbpl plan real/fdbpl.toml")
    for line in lines[: last + 1]:
        program, *words = shlex.split(line)
        if program == "mkdir":
            (tmp_path / words[0]).mkdir()
        elif program == "fdbpl" and words != ["doctor"]:
            done = run(*words)
            assert done.returncode == 0, (line, done.stderr)
            if line == "fdbpl init --data photos --preset tiny":
                config = tmp_path / "fdbpl.toml"
                config.write_text(re.sub(r"\nseeds = \S+ ", "\nseeds = 2 ", config.read_text(), count=1))
                config.write_text(config.read_text().replace("epochs = 200", "epochs = 2"))
    assert (tmp_path / "runs" / "photos" / "report.md").exists()
    assert (tmp_path / "runs" / "photos" / "results.json").exists()


@pytest.mark.usefixtures("photos")
def test_own_data_are_checked_and_planned(call: Any, tmp_path: Path) -> None:
    (tmp_path / "all").mkdir()
    for line in commands("how-to/own-data.md"):
        if line == "mkdir all":
            continue
        done = call(*shlex.split(line)[1:])
        assert done.returncode == 0, (line, done.stderr)


@pytest.mark.slow
def test_a_store_grows_and_is_shared(write_config: Callable[..., Path], call: Any, tmp_path: Path) -> None:
    write_config(store={"seeds_per_block": 2, "images_per_block": 64}, crops={"seeds": 2})
    for step in ("teach", "features"):
        assert call(step, "run.toml").returncode == 0
    for line in commands("how-to/add-classes.md"):
        done = call(*shlex.split(line.replace("crops.seeds=32", "crops.seeds=4"))[1:])
        assert done.returncode == 0, (line, done.stderr)
    refused = call("teach", "run.toml", "--set", "crops.seeds=6")
    assert refused.returncode == 2 and "--grow" in refused.stderr
    for line in commands("how-to/share-a-store.md"):
        done = call(*shlex.split(line)[1:])
        assert done.returncode == 0, (line, done.stderr)


@pytest.mark.slow
def test_the_short_benchmark_runs(run: Any) -> None:
    for line in commands("how-to/measure.md"):
        done = run(*shlex.split(line)[1:])
        assert done.returncode == 0, (line, done.stderr)


def test_the_configs_and_profiles_are_valid() -> None:
    (teacher,) = tables("quick-start.md")
    TeacherConfig.model_validate(teacher["teacher"])
    profile, config = tables("how-to/on-slurm.md")
    Profile.model_validate(profile)
    ClusterConfig.model_validate(config["cluster"])
    (store,) = tables("how-to/share-a-store.md")
    StoreConfig.model_validate(store["store"])
    assert len([Profile.model_validate(table) for table in tables("how-to/containers.md")]) == 2
