"""What students tell of their epochs while they train, to a file and to the sinks of other libraries."""

import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.run_folder import RunFolder
from fdbpl.pipeline.students.checked import student_plans
from fdbpl.pipeline.training import metric_sinks, metrics
from fdbpl.pipeline.training import train as train_module
from fdbpl.pipeline.training.metrics import JsonLines, Metrics, check_sinks
from fdbpl.pipeline.training.student_record import finished_records
from fdbpl.pipeline.training.student_run import run_students
from fdbpl.pipeline.training.train import Training

MakeConfig = Callable[..., RunConfig]
Tables = Callable[..., dict[str, Any]]


@pytest.fixture
def two(taught: RunConfig, make_config: MakeConfig, student_table: Tables) -> RunConfig:
    """Two students that train together, over the finished store."""
    config = make_config(student=[student_table(epochs=4, seeds=[1, 2])], metrics={"sinks": ["tensorboard"]})
    return config.model_copy(update={"store": taught.store})


def told(config: RunConfig) -> dict[str, list[dict[str, float]]]:
    """What metrics.jsonl says of each student."""
    files = {plan.id: RunFolder(config.folder).student(plan.id).metrics_file for plan in student_plans(config)}
    return {name: [json.loads(line) for line in path.read_text().splitlines()] for name, path in files.items()}


def scalars(config: RunConfig, student: str, name: str) -> list[tuple[int, float]]:
    """What TensorBoard shows of a student."""
    events = EventAccumulator(str(config.folder / "tensorboard" / student))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(name)]


def logged(path: Path) -> Iterator[Any]:
    """The records of an offline run of Weights & Biases: its own messages in the log format of LevelDB."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, at, whole = path.read_bytes(), 7, b""
    assert content.startswith(b":W&B")
    while at + 7 <= len(content):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        size, kind = struct.unpack_from("<HB", content, at + 4)
        whole += content[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # whole, or the last part
            record = Record()
            record.ParseFromString(whole)
            yield record
            whole = b""


def stop_in_epoch(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """States are kept after every epoch, and the training is stopped in the one after so many."""
    monkeypatch.setattr(train_module, "SECONDS_BETWEEN_STATES", 0.0)
    steps, begun = Training.steps, list[int]()

    def stopping(self: Training) -> None:
        begun.append(1)
        if len(begun) > number:
            raise KeyboardInterrupt
        steps(self)

    monkeypatch.setattr(Training, "steps", stopping)


def test_lines_come_while_it_trains_and_each_epoch_once_though_it_is_stopped(
    two: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans = student_plans(two)
    with monkeypatch.context() as patch:
        stop_in_epoch(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            run_students(two, plans)
    before = told(two)
    assert [[line["epoch"] for line in lines] for lines in before.values()] == [[0, 1], [0, 1]]
    run_students(two, plans)
    after = told(two)
    assert all([line["epoch"] for line in lines] == [0, 1, 2, 3] for lines in after.values())
    assert all(after[name][:2] == before[name] for name in after)
    for plan in plans:
        assert [step for step, _ in scalars(two, plan.id, "loss")] == [0, 1, 2, 3]
        shown = [value for _, value in scalars(two, plan.id, "agreement")]
        assert shown == pytest.approx([line["agreement"] for line in after[plan.id]], rel=1e-6)


def test_what_was_told_beyond_the_state_is_told_again(tmp_path: Path) -> None:
    sink = JsonLines(tmp_path / "metrics.jsonl")
    sink.begin([])
    for number in range(3):
        sink.epoch(number, {"loss": float(number)})
    sink.close()
    again = JsonLines(tmp_path / "metrics.jsonl")
    again.begin([{"loss": 0.0}])  # the state is of the first epoch
    again.epoch(1, {"loss": 7.0})
    again.close()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines == [{"epoch": 0, "loss": 0.0}, {"epoch": 1, "loss": 7.0}]


def test_sinks_are_no_part_of_what_a_student_is(two: RunConfig) -> None:
    plans = student_plans(two)
    run_students(two, plans)
    other = two.model_copy(update={"metrics": two.metrics.model_copy(update={"sinks": ()})})
    from fdbpl.pipeline.data.exclusions import run_data

    assert all(finished_records(other, plans, run_data(other)).values())


def test_a_sink_that_fails_is_left_and_the_training_goes_on(
    two: RunConfig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(metric_sinks.TensorBoard, "epoch", full)
    records = run_students(two, student_plans(two))
    assert [record["steps"] for record in records] == [8, 8]
    # Once for each of the two.
    assert caplog.text.count("is no longer told to TensorBoard: No space left on device") == 2
    assert all(len(lines) == 4 for lines in told(two).values())


def test_weights_and_biases_writes_offline_runs(
    two: RunConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "own"))
    monkeypatch.delenv("WANDB_MODE", raising=False)
    config = two.model_copy(update={"metrics": two.metrics.model_copy(update={"sinks": ("wandb",)})})
    run_students(config, student_plans(config))
    files = sorted((config.folder / "wandb").glob("offline-run-*/*.wandb"))
    assert len(files) == 2
    names, losses = set(), []
    for file in files:
        for record in logged(file):
            if record.HasField("run"):
                names.add(record.run.display_name)
            values = {item.key or item.nested_key[0]: item.value_json for item in record.history.item}
            losses += [json.loads(values["loss"])] if "loss" in values else []
    assert names == {plan.id for plan in student_plans(config)}
    expected = [line["loss"] for lines in told(config).values() for line in lines]
    assert sorted(losses) == pytest.approx(sorted(expected))


def test_a_sink_that_is_not_installed_is_refused_before_anything_runs(
    two: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="found 'tensorboard', which is not installed: `pip install tensorboard`"):
        check_sinks(two)
    check_sinks(two.model_copy(update={"metrics": two.metrics.model_copy(update={"sinks": ()})}))


def test_nobody_is_told_twice_of_an_end(tmp_path: Path) -> None:
    closed = list[int]()

    class Counting:
        def begin(self, epochs: object) -> None: ...

        def epoch(self, number: int, means: object) -> None: ...

        def close(self) -> None:
            closed.append(1)

    told_to = Metrics([Counting()], "a")
    told_to.close()
    told_to.close()
    assert closed == [1]
