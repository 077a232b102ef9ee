import re
from pathlib import Path

import pytest

from fdbpl.pipeline.config_file import read_config

MINIMAL = """
folder = "run"
[data]
name = "x"
folder = "data"
split = "split.json"
[teacher]
model = "ViT-L-14"
pretrained = "openai"
[[student]]
model = "ViT-B-32"
pretrained = "openai"
seeds = 7
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "run.toml"
    path.write_text(text)
    return path


def test_paths_are_taken_from_the_config_files_folder(tmp_path: Path) -> None:
    (tmp_path / "teacher.pt").touch()
    config = read_config(write(tmp_path, MINIMAL), ("teacher.pretrained=teacher.pt",))
    assert config.folder == tmp_path / "run"
    assert config.store.path == tmp_path / "run" / "store.zarr"
    assert config.data.folder == tmp_path / "data"
    assert config.teacher.pretrained == str(tmp_path / "teacher.pt")
    assert config.student[0].pretrained == "openai"  # a tag is no path


def test_one_value_stands_for_a_list_of_one(tmp_path: Path) -> None:
    assert read_config(write(tmp_path, MINIMAL)).student[0].seeds == (7,)


def test_overrides_reach_tables_and_lists(tmp_path: Path) -> None:
    overrides = ("crops.seeds=3", "student.0.epochs=9", "cluster.kind=slurm", 'data.name="a b"')
    config = read_config(write(tmp_path, MINIMAL), overrides)
    assert config.crops.seeds == 3
    assert config.student[0].epochs == 9
    assert config.cluster.kind == "slurm"
    assert config.data.name == "a b"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("crops.seed=3", "crops: found the unknown key 'seed' (did you mean 'seeds'?), expected flip_probability"),
        ("tutor.x=3", "top level: found the unknown key 'tutor'"),
        ("student.0.shot=3", "student.0: found the unknown key 'shot' (did you mean 'shots'?)"),
        ("student.0.optim.lr=3", "student.0.optim: found the unknown key 'lr'"),
        ("crops.seeds=0", "crops.seeds: found 0"),
        ("crops.scale=[0.5, 0.2]", "crops"),
        ("store.labels=dense", "store.labels: found 'dense'"),
        ('store.labels=["dense"]', "store.labels.0: found 'dense'"),
        ("store.labels=[]", "store.labels: found []"),
        ('store.labels=["topk", "topk"]', "store.labels: found ['topk', 'topk']: an encoding is there twice"),
        ("store.top_k=0", "store.top_k: found 0"),
        ("student.0.supervision=magic", "student.0.supervision.0: found 'magic'"),
        ("crops.seeds", "expected key=value"),
        ("student.5.epochs=1", "no such place: student.5.epochs"),
        ("folder.x=1", "no such place: folder.x"),
    ],
)
def test_faults_are_named_with_what_is_expected(tmp_path: Path, change: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        read_config(write(tmp_path, MINIMAL), (change,))


def test_all_faults_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'seed'") as caught:
        read_config(write(tmp_path, MINIMAL), ("crops.seed=3", "store.blocks=1", "loading.batch_size=-1"))
    assert [word in str(caught.value) for word in ("'seed'", "'blocks'", "loading.batch_size")] == [True] * 3


def test_a_missing_file_and_broken_toml_are_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="found no config file"):
        read_config(tmp_path / "none.toml")
    with pytest.raises(ValueError, match="not valid TOML"):
        read_config(write(tmp_path, "folder = "))
