"""One student by itself: with the store, or with no store at all."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fdbpl.cache_layout.errors import CacheError
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.data.load import load_data
from fdbpl.pipeline.run_folder import RunFolder
from fdbpl.pipeline.students.checked import student_plans
from fdbpl.pipeline.training.student_record import student_identity
from fdbpl.pipeline.training.student_run import run_student

MakeConfig = Callable[..., RunConfig]
StudentTable = Callable[..., dict[str, Any]]


def test_without_any_store_an_online_student_sees_the_same_views(
    taught: RunConfig, make_config: MakeConfig, student_table: StudentTable
) -> None:
    """Windows by the policy, teacher in every step: the loss is that of the student who reads the store."""
    config = make_config(student=[student_table(supervision=["online", "cached"], features="live", epochs=3)])
    online, cached = student_plans(config)
    assert not config.store.path.exists()
    alone = run_student(config, online)
    assert alone["fingerprint"] is None
    assert not config.store.path.exists()
    with_store = run_student(config.model_copy(update={"store": taught.store}), cached)
    assert with_store["fingerprint"].startswith("sha256:")
    assert alone["final_loss"] == pytest.approx(with_store["final_loss"], rel=2e-3)


def test_a_finished_student_is_not_trained_again(
    taught: RunConfig, make_config: MakeConfig, student_table: StudentTable
) -> None:
    config = make_config(student=[student_table()]).model_copy(update={"store": taught.store})
    plan = student_plans(config)[0]
    first = run_student(config, plan)
    folder = RunFolder(config.folder).student(plan.id)
    prompts = folder.prompts_file.stat().st_mtime_ns
    assert run_student(config, plan) == first
    assert folder.prompts_file.stat().st_mtime_ns == prompts
    assert len(folder.metrics_file.read_text().splitlines()) == plan.config.epochs
    assert not folder.checkpoint_file.exists()


def test_a_student_without_its_stored_features_says_what_to_run(
    taught: RunConfig, make_config: MakeConfig, student_table: StudentTable
) -> None:
    """The store has features of another student: they must not be taken for this one's."""
    table = student_table(model="fdbpl-tiny-teacher", pretrained="models/teacher.safetensors")
    config = make_config(student=[table]).model_copy(update={"store": taught.store})
    with pytest.raises(CacheError, match="run `fdbpl features CONFIG`"):
        run_student(config, student_plans(config)[0])


def test_other_weights_under_the_same_name_are_another_student(
    taught: RunConfig, make_config: MakeConfig, student_table: StudentTable, tmp_path: Path
) -> None:
    """What a student depends on is told by content: a retrained checkpoint makes it stale, a moved one does not."""
    original = Path(taught.student[0].pretrained)
    moved = tmp_path / "moved.safetensors"
    moved.write_bytes(original.read_bytes())

    def identity(pretrained: Path) -> dict[str, Any]:
        config = make_config(student=[student_table(pretrained=str(pretrained))])
        return student_identity(config, student_plans(config)[0], load_data(config.data))

    assert identity(moved) == identity(original)
    content = bytearray(moved.read_bytes())
    content[-1] ^= 1
    moved.write_bytes(content)
    assert identity(moved) != identity(original)


def test_a_student_stopped_in_its_second_training_does_not_keep_the_first_record(
    taught: RunConfig, make_config: MakeConfig, student_table: StudentTable
) -> None:
    """Config A, then B stopped half-way, then A again: A's record must not vouch for what B left."""
    config_a, config_b = (
        make_config(student=[student_table(epochs=epochs)]).model_copy(update={"store": taught.store})
        for epochs in (2, 4)
    )
    plan_a, plan_b = student_plans(config_a)[0], student_plans(config_b)[0]
    run_student(config_a, plan_a)
    record_file = RunFolder(config_a.folder).student(plan_a.id).record_file

    def stop(done: int, total: int) -> None:
        assert not record_file.exists()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_student(config_b, plan_b, stop)
    assert not record_file.exists()
    assert run_student(config_a, plan_a)["steps"] == 4
