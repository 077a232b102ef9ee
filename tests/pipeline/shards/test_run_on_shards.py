"""A run on shards is the run on the folder: the same labels bit for bit, and either store serves the other."""

import io
import json
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fdbpl.cache_layout.store_diff import diff_stores
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.data.load import load_data
from fdbpl.pipeline.data.pack import plan_shards, write_shards
from fdbpl.pipeline.datasets.scan import UnreadableImages
from fdbpl.pipeline.evaluation.features import read_test_features, write_test_features
from fdbpl.pipeline.evaluation.record import test_passes as passes_of
from fdbpl.pipeline.labels.teach import prepare_store, teach_block
from fdbpl.pipeline.progress import Ui
from fdbpl.pipeline.run.workflow import Workflow
from fdbpl.pipeline.students.checked import student_plans
from fdbpl.pipeline.training.student_run import run_student

MakeConfig = Callable[..., RunConfig]
Run = Callable[..., subprocess.CompletedProcess[str]]
StudentTable = Callable[..., dict[str, Any]]


def on(config: RunConfig, images: str, **store: Path) -> RunConfig:
    """The same run, with its images elsewhere."""
    changed = {
        "data": config.data.model_copy(update={"images": images}),
        "store": config.store.model_copy(update=store),
    }
    return config.model_copy(update=changed)


@pytest.fixture
def shards(taught: RunConfig, tmp_path: Path) -> str:
    """The shared world as shards of 50 images, which do not end where the run's blocks do."""
    data = load_data(taught.data)
    write_shards(data.root, plan_shards(data, tmp_path / "shards", 50), lambda done, total: None)
    return str(tmp_path / "shards" / "*.tar")


def test_the_teacher_labels_shards_as_the_folder(taught: RunConfig, make_config: MakeConfig, shards: str) -> None:
    config = on(make_config(), shards)
    with Workflow(config, Ui(quiet=True), command="fdbpl teach") as workflow:
        workflow.teach()
        workflow.features()
    found = diff_stores(taught.store.path, config.store.path)
    assert found.is_equal, found.to_json()


def test_a_store_that_was_begun_on_the_folder_is_finished_on_shards(
    taught: RunConfig, make_config: MakeConfig, shards: str
) -> None:
    folder = make_config()
    prepare_store(folder)
    teach_block(folder, "0.0", lambda done, total: None)
    with Workflow(on(folder, shards), Ui(quiet=True), command="fdbpl teach") as workflow:
        assert workflow.teach()["views_computed"] == 128 * 4 - 48 * 2
        workflow.features()
    assert diff_stores(taught.store.path, folder.store.path).is_equal


def test_students_read_pixels_from_shards_for_a_store_of_the_folder(
    taught: RunConfig, make_config: MakeConfig, shards: str, student_table: StudentTable, tmp_path: Path
) -> None:
    """The windows' check of every file's digest passes, and the prompts are those that the folder gives."""
    prompts = []
    for name, images in (("folder", "images"), ("shards", shards)):
        config = make_config(student=[student_table(features="live", epochs=1)])
        config = on(config, images, path=taught.store.path).model_copy(update={"folder": tmp_path / name})
        (plan,) = student_plans(config)
        prompts.append(run_student(config, plan)["final_loss"])
    assert prompts[0] == prompts[1]


def test_test_images_are_read_from_shards(make_config: MakeConfig, shards: str) -> None:
    config = make_config()
    data = load_data(config.data)
    found = []
    for one in (config, on(config, shards)):
        one = one.model_copy(update={"folder": one.folder / str(len(found))})
        key, first = next(iter(passes_of(one).items()))
        assert write_test_features(one, key, lambda done, total: None) == len(data.test)
        found.append(read_test_features(first, data))
    assert found[0].features_ND.equal(found[1].features_ND) and found[0].images_N.equal(found[1].images_N)


def test_a_shard_that_is_cut_short_is_told_before_the_teacher_runs(make_config: MakeConfig, shards: str) -> None:
    config = on(make_config(), shards)
    last = Path(shards).parent / "train-000002.tar"
    last.chmod(0o644)
    last.write_bytes(last.read_bytes()[:30_000])
    with pytest.raises(UnreadableImages) as caught:
        prepare_store(config)
    assert caught.value.num_images == 128 and 0 < len(caught.value.images) < 28
    cut = (f"{last}: the shard is cut short", f"the shard {last} is cut short")
    assert all(any(words in bad.reason for words in cut) for bad in caught.value.images)
    assert not config.store.path.exists()


def test_a_run_by_commands_on_shards_alone(
    write_config: Callable[..., Path], call: Run, tmp_path: Path, shared: Path
) -> None:
    write_config()
    dry = json.loads(
        call("data", "shards", "run.toml", "shards", "--images-per-shard", "60", "--dry-run", "--json").stdout
    )
    assert (dry["shards"], dry["shards_made"], dry["images"]) == (5, 5, 192) and not (tmp_path / "shards").exists()
    made = call("data", "shards", str(shared / "world"), "shards", "--images-per-shard", "60")
    assert made.returncode == 0 and made.stdout.startswith(f"{tmp_path / 'shards'}: 192 images in 5 shards, 5 made now")
    setting = made.stdout.splitlines()[-1]
    assert setting == f'images = "{tmp_path}/shards/*.tar"'
    again = call("data", "shards", "run.toml", "shards", "--images-per-shard", "60", "--json")
    assert json.loads(again.stdout)["shards_made"] == 0 and again.stderr == ""
    refused = call("data", "shards", "run.toml", "shards", "--images-per-shard", "62")
    assert refused.returncode == 2 and "made of other images or labels (other names)" in refused.stderr
    assert json.loads(call("data", "index", "shards/*.tar", "--json").stdout) == {"shards": 5, "made": 0}
    taught = call("teach", "run.toml", "--set", f"data.images={tmp_path}/shards/*.tar")
    assert taught.returncode == 0 and "512 views, 512 computed now" in taught.stdout


def test_shards_without_a_split_file(
    write_config: Callable[..., Path], call: Run, tmp_path: Path, shared: Path
) -> None:
    """Shards as others make them; the run's config needs the two lines that `list` prints."""
    write_config()
    split = json.loads((shared / "world" / "split_world.json").read_text())
    names = {label: name for part in split.values() for _, label, name in part}
    (tmp_path / "classes.txt").write_text("\n".join(names[label] for label in range(len(names))))
    for part in ("train", "test"):
        (tmp_path / "wds" / part).mkdir(parents=True)
        with tarfile.open(tmp_path / "wds" / part / "0.tar", "w") as tar:
            for number, (path, label, _) in enumerate(split[part]):
                content = (shared / "world" / "images" / path).read_bytes()
                for extension, data in (("jpg", content), ("cls", str(label).encode())):
                    info = tarfile.TarInfo(f"s{number:07d}.{extension}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
    listing = ("data", "list", "wds", "--train", "train/*.tar", "--test", "test/*.tar", "--classes", "classes.txt")
    listed = call(*listing)
    assert listed.returncode == 0, listed.stderr
    assert listed.stdout.endswith('images = "."\nsplit = "split_shards.json"\n')
    assert call(*listing).returncode == 0, "the same content is no fault"
    other = call(*listing[:3], "--train", "test/0.tar", "--classes", "classes.txt")
    assert other.returncode == 2 and "with other content" in other.stderr
    changes = [f"data.folder={tmp_path / 'wds'}", "data.images=.", "data.split=split_shards.json"]
    taught = call("teach", "run.toml", *(word for change in changes for word in ("--set", change)))
    assert taught.returncode == 0 and "512 views, 512 computed now" in taught.stdout, taught.stderr


def test_wrong_input_is_told_without_a_traceback(call: Run, tmp_path: Path, make_tar: Callable[..., Path]) -> None:
    make_tar(tmp_path / "a.tar", {"1.jpg": b""})
    make_tar(tmp_path / "b.tar.gz", {"1.jpg": b""}, mode="w:gz")
    for arguments, message in (
        (("data", "shards", ".", "out"), "found no split_*.json in ., expected one: name it by --split"),
        (("data", "list", ".", "--train", "a.tar"), "found no label of '1'"),
        (("data", "list", ".", "--train", "b.tar.gz"), "it is compressed"),
        (("data", "index", "none*.tar"), "found no shard none*.tar"),
    ):
        answer = call(*arguments)
        assert (answer.returncode, answer.stdout) == (2, "") and message in answer.stderr, answer.stderr
        assert "Traceback" not in answer.stderr
