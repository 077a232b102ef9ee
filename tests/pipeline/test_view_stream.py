"""The views of all epochs, brought in chunks: the same ones in the same order whatever a chunk holds."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import numpy as np
import pytest
import torch

from fdbpl.cache_layout.errors import DamagedFile
from fdbpl.cache_layout.reader import Reader, open_reader
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.data.load import load_data
from fdbpl.pipeline.students.checked import student_plans
from fdbpl.pipeline.training import view_stream
from fdbpl.pipeline.training.gather import gather_all
from fdbpl.pipeline.training.ingredients import Ingredients
from fdbpl.pipeline.training.sampling import EpochViews, Sampler, epoch_order
from fdbpl.pipeline.training.view_stream import ViewStream
from fdbpl.pipeline.values import Views

BATCH, EPOCHS = 10, range(2, 9)
GatherAll = Callable[..., list[Ingredients]]


@pytest.fixture
def reader(taught: RunConfig) -> Iterator[Reader]:
    with open_reader(taught.store.path) as reader:
        yield reader


@pytest.fixture
def gathered(
    taught: RunConfig,
    reader: Reader,
    make_config: Callable[..., RunConfig],
    student_table: Callable[..., dict[str, Any]],
) -> GatherAll:
    """The ingredients of students of the finished store, with changes to their table."""

    def make(**changes: Any) -> list[Ingredients]:
        config = make_config(student=[student_table(**changes)]).model_copy(update={"store": taught.store})
        return gather_all(config, student_plans(config), load_data(config.data), reader)

    return make


def seen(students: list[Ingredients]) -> list[Views]:
    stream = ViewStream(students, batch_size=BATCH, epochs=EPOCHS)
    try:
        return [views for _ in EPOCHS for views in stream.epoch()]
    finally:
        stream.close()


def bytes_of(steps: int, student: Ingredients) -> int:
    """A chunk of so many steps."""
    return 2 * (steps - 1) * BATCH * (student.source.row_bytes + student.supervision.row_bytes)


@pytest.mark.parametrize("views", ["cycle", "random"])
def test_views_are_those_of_the_sampler_in_the_order_of_seed_and_epoch(
    views: str, gathered: GatherAll, reader: Reader
) -> None:
    (student,) = gathered(views=views)
    found = seen([student])
    assert len(found) == 3 * len(EPOCHS), "32 images are three batches of ten"
    for number, batch in enumerate(found):
        epoch, step = EPOCHS[number // 3], number % 3
        positions = epoch_order(student.sampler, epoch, BATCH)[BATCH * step : BATCH * (step + 1)]
        images, seeds = student.training.image_ids_M[positions], student.sampler.epoch(epoch).seeds_M[positions]
        assert batch.image_ids_B.tolist() == images.tolist() and batch.seeds_B.tolist() == seeds.tolist()
        assert batch.labels_B.tolist() == student.training.labels_M[positions].tolist()
        assert batch.features_BD is not None and batch.features_BD.dtype == torch.float32
        expected = reader.read("teacher/logits", images, seeds)
        assert np.array_equal(batch.label_rows[0].numpy(), expected)


@pytest.mark.parametrize(("steps", "chunks"), [(1, 21), (2, 8), (3, 7), (4, 4), (1000, 1)])
def test_whatever_a_chunk_holds_the_views_are_the_same(
    steps: int, chunks: int, gathered: GatherAll, monkeypatch: pytest.MonkeyPatch
) -> None:
    (student,) = gathered(views="random")
    expected = seen([student])
    read: list[int] = []
    bring = ViewStream._bring

    def counted(self: ViewStream, chunk: view_stream.Chunk) -> Views:
        read.append(chunk.labels_NV.shape[1] // BATCH)
        return bring(self, chunk)

    monkeypatch.setattr(ViewStream, "_bring", counted)
    monkeypatch.setattr(view_stream, "CHUNK_BYTES", bytes_of(steps, student))
    found = seen([student])
    assert sum(read) == 21 and len(read) == chunks and max(read) < 2 * steps + 1
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one.image_ids_B, other.image_ids_B) and torch.equal(one.seeds_B, other.seeds_B)
        assert one.features_BD is not None and other.features_BD is not None
        assert torch.equal(one.features_BD, other.features_BD)
        assert torch.equal(one.label_rows[0], other.label_rows[0])


def test_what_goes_wrong_while_views_are_brought_is_raised_where_they_are_taken(
    gathered: GatherAll, monkeypatch: pytest.MonkeyPatch
) -> None:
    (student,) = gathered()
    rows, calls = student.supervision.rows, 0

    def damaged(*views: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise DamagedFile("store", ["those of step 4"])
        return rows(*views)

    monkeypatch.setattr(student.supervision, "rows", damaged)
    monkeypatch.setattr(view_stream, "CHUNK_BYTES", 0)
    taken = 0
    with closing(ViewStream([student], batch_size=BATCH, epochs=EPOCHS)) as stream:
        assert len(list(stream.epoch())) == 3
        with pytest.raises(DamagedFile, match="of step 4"):
            for _ in stream.epoch():
                taken += 1
    assert not taken
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("fdbpl-ahead")]


@pytest.mark.parametrize(("kept_bytes", "asked"), [(2**30, 4), (0, len(EPOCHS))])
def test_what_stays_in_memory_is_asked_for_once(
    kept_bytes: int, asked: int, gathered: GatherAll, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of four crop seeds in turns, over seven epochs."""
    students = gathered(seeds=[1, 2])
    monkeypatch.setattr(view_stream, "KEPT_BYTES", kept_bytes)
    found: list[list[int]] = []
    monkeypatch.setattr(
        students[0].supervision, "prefetch", lambda images_V, seeds_V: found.append(sorted({*seeds_V.tolist()}))
    )
    seen(students)
    assert found == [[epoch % 4] for epoch in EPOCHS][:asked]


def test_an_epoch_of_weighed_views_is_drawn_once(gathered: GatherAll, monkeypatch: pytest.MonkeyPatch) -> None:
    students = gathered(seeds=[1, 2], views="informative")
    drawn: list[tuple[int, int]] = []
    method = Sampler.epoch

    def counted(self: Sampler, number: int) -> EpochViews:
        drawn.append((number, self.seed))
        return method(self, number)

    monkeypatch.setattr(Sampler, "epoch", counted)
    seen(students)
    assert drawn == [(epoch, seed) for epoch in EPOCHS for seed in (1, 2)]


def test_students_that_train_together_each_see_their_own_views(gathered: GatherAll) -> None:
    students = gathered(seeds=[1, 2, 3], views="informative", importance=True)
    each = [seen([student]) for student in students]
    for number, together in enumerate(seen(students)):
        for row, own in enumerate(each):
            assert torch.equal(together.image_ids_B[row], own[number].image_ids_B)
            assert together.features_BD is not None and own[number].features_BD is not None
            assert torch.equal(together.features_BD[row], own[number].features_BD)
            assert together.importance_B is not None and own[number].importance_B is not None
            assert torch.equal(together.importance_B[row], own[number].importance_B)
