"""What the docs show of configs and site profiles is accepted by the code."""

import os
import re
import shlex
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

from fdbpl.pipeline.clip.tiny import unpack_tiny_checkpoints
from fdbpl.pipeline.config import ClusterConfig, DataConfig, EvaluateConfig
from fdbpl.pipeline.data.defaults import with_defaults
from fdbpl.pipeline.datasets.catalog import KNOWN
from fdbpl.pipeline.datasets.world import WorldSpec, make_world
from fdbpl.pipeline.presets.preset import write_preset
from fdbpl.slurm.profile import Profile

DOCS = Path(__file__).parents[1] / "docs"


def test_the_configs_and_profiles_of_clusters_md_are_valid() -> None:
    blocks = re.findall(r"```toml\n(.*?)```", (DOCS / "clusters.md").read_text(), flags=re.DOTALL)
    assert len(blocks) >= 4
    for block in blocks:
        values = tomllib.loads(block)
        if "cluster" in values:
            cluster = ClusterConfig.model_validate(values["cluster"])
            Profile.model_validate(cluster.slurm)
        else:
            Profile.model_validate(values)


def test_the_config_of_shards_md_is_valid() -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", (DOCS / "shards.md").read_text(), flags=re.DOTALL)
    assert DataConfig.model_validate(tomllib.loads(block)["data"]).images == "shards/*.tar"


def test_the_commands_of_shards_md_run_in_order(tmp_path: Path) -> None:
    """On the smallest world, beside shards such as others make them."""
    place = "data/caltech-101"
    make_world(tmp_path / place, spec=WorldSpec(train_per_class=4, val_per_class=0, test_per_class=1), seed=1)
    unpack_tiny_checkpoints(tmp_path / "models")
    write_preset(tmp_path / "run.toml", "tiny")
    config = (tmp_path / "run.toml").read_text()
    assert 'folder = "world"' in config
    (tmp_path / "run.toml").write_text(config.replace('folder = "world"', f'folder = "{place}"'))
    for part in ("train", "test"):
        (tmp_path / "data" / "wds" / part).mkdir(parents=True)
        with tarfile.open(tmp_path / "data" / "wds" / part / "0.tar", "w") as tar:
            for extension, content in (("jpg", b"not looked at"), ("cls", b"0")):
                (tmp_path / "member").write_bytes(content)
                tar.add(tmp_path / "member", f"s0.{extension}")
    (tmp_path / "data" / "wds" / "classnames.txt").write_text("cat\n")
    blocks = re.findall(r"```console\n(.*?)```", (DOCS / "shards.md").read_text(), flags=re.DOTALL)
    commands = [shlex.split(line[2:], comments=True) for block in blocks for line in block.splitlines()]
    assert len(commands) == 5 and {command[0] for command in commands} == {"fdbpl"}
    for _, *arguments in commands:
        answer = subprocess.run(
            [sys.executable, "-m", "fdbpl.pipeline.cli", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert answer.returncode == 0, answer.stderr


def datasets_md(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", (DOCS / "datasets.md").read_text(), flags=re.DOTALL)


def test_the_table_of_datasets_md_is_the_catalogue() -> None:
    rows = [line.split("|")[1:-1] for line in (DOCS / "datasets.md").read_text().splitlines() if line.startswith("| `")]
    found = [[cell.strip(" `").replace(",", "") for cell in row] for row in rows]
    assert found == [
        [known.name, known.folder, known.images, known.split, str(known.num_classes)]
        + [str(number or "-") for number in (known.num_train, known.num_val, known.num_test)]
        for known in KNOWN.values()
    ]


def test_the_configs_of_datasets_md_are_valid() -> None:
    sections = [with_defaults(DataConfig.model_validate(tomllib.loads(block)["data"])) for block in datasets_md("toml")]
    assert [(section.layout, section.images) for section in sections] == [
        ("oxford_pets", "images"),
        ("split_json", "pictures"),
        ("class_folders", "."),
        ("imagenet", "images"),
    ]
    assert sections[-1].few_shot


def test_the_commands_of_datasets_md_run(tmp_path: Path) -> None:
    """Where nothing is there: all of it is told, and that is no error."""
    (tmp_path / "data").mkdir()
    write_preset(tmp_path / "run.toml", "base-to-new")
    commands = [shlex.split(line[2:], comments=True) for block in datasets_md("console") for line in block.splitlines()]
    expected = [
        (["fdbpl", "data", "known"], 0),
        (["fdbpl", "data", "check", "all", "data"], 1),
        (["fdbpl", "data", "check", "oxford_pets", "data/oxford_pets"], 1),
        (["fdbpl", "data", "check", "run.toml"], 1),
    ]
    assert commands == [command for command, _ in expected]
    for (_, *arguments), code in expected:
        answer = subprocess.run(
            [sys.executable, "-m", "fdbpl.pipeline.cli", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (answer.returncode, answer.stderr) == (code, "")


def test_the_targets_of_protocols_md_are_valid() -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", (DOCS / "protocols.md").read_text(), flags=re.DOTALL)
    evaluate = EvaluateConfig.model_validate(tomllib.loads(block)["evaluate"])
    assert [target.name for target in evaluate.targets] == ["dtd"]


def test_the_python_of_python_md_runs_in_order(tmp_path: Path) -> None:
    make_world(tmp_path / "play/world", spec=WorldSpec(train_per_class=4, val_per_class=0, test_per_class=1), seed=1)
    unpack_tiny_checkpoints(tmp_path / "play/models")
    write_preset(tmp_path / "play/fdbpl.toml", "tiny")
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "python.md").read_text(), flags=re.DOTALL)
    code = "\n".join(blocks)
    answer = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    lines = answer.stdout.splitlines()
    assert lines[0] == "coop-cross_entropy-hard-seed1 local"
    assert [line.split()[0] for line in lines[1:4]] == [
        "coop-cross_entropy-hard",
        "coop-kdpl-cached",
        "coop-fdbpl-cached",
    ]
    assert lines[-2] == "torch.Size([2, 64])"
    assert lines[-1].endswith("torch.Size([64, 3, 48, 48]) torch.Size([64, 2])")
