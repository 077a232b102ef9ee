"""A store as a torch data set: what it gives is what the store holds and the teacher saw, in whatever process."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from fdbpl.cache_layout.errors import CacheError
from fdbpl.cache_layout.reader import Reader, open_reader
from fdbpl.pipeline.clip.backbone import load_backbone
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.data.load import load_data
from fdbpl.pipeline.labels.teach import image_root
from fdbpl.pipeline.library.store_views import StoreViews
from fdbpl.pipeline.students.checked import student_plans
from fdbpl.pipeline.training.gather import gather
from fdbpl.pipeline.training.sampling import epoch_order


@pytest.fixture(scope="module")
def views(taught: RunConfig) -> StoreViews:
    return StoreViews(taught.store.path, arrays=("teacher/embedding",))


def test_a_batch_is_what_the_store_holds(taught: RunConfig, views: StoreViews) -> None:
    assert len(views) == 128 * 4 and views.num_seeds == 4 and len(views.paths) == 128
    batch = views[[0, 5, 511]]
    assert batch["image"].tolist() == [0, 1, 127] and batch["seed"].tolist() == [0, 1, 3]
    with open_reader(taught.store.path) as reader:
        logits = reader.read("teacher/logits", [0, 1, 127], [0, 1, 3])
        embedding = reader.read("teacher/embedding", [0, 1, 127], [0, 1, 3])
    torch.testing.assert_close(batch["logits"], torch.from_numpy(logits.astype(np.float32)))
    assert (batch["teacher/embedding"].numpy() == embedding).all()
    one = views[5]
    assert {name: value.tolist() for name, value in one.items()} == {
        name: value[1].tolist() for name, value in batch.items()
    }


def test_pixels_are_those_that_the_teacher_saw(taught: RunConfig) -> None:
    """The teacher says of them what it said when the store was made."""
    views = StoreViews(taught.store.path, folder=image_root(taught), arrays=("teacher/embedding",))
    batch = views[np.arange(0, 512, 37)]
    assert batch["pixels"].dtype == torch.uint8 and batch["pixels"].shape == (14, 3, 48, 48)
    with torch.no_grad():
        again = load_backbone(taught.teacher).encode_pixels(batch["pixels"])
    torch.testing.assert_close(again, batch["teacher/embedding"].float(), rtol=0, atol=2e-3)


def test_chosen_images_and_classes(taught: RunConfig) -> None:
    with open_reader(taught.store.path) as reader:
        names = reader.class_list("all").class_names
        expected = reader.read("teacher/logits", [7, 3], [2, 0])[:, [4, 1]]
    views = StoreViews(taught.store.path, images=[3, 7], class_names=[names[4], names[1]])
    assert len(views) == 8
    batch = views[[6, 0]]
    assert batch["image"].tolist() == [7, 3]
    torch.testing.assert_close(batch["logits"], torch.from_numpy(expected.astype(np.float32)))


@pytest.mark.parametrize("policy", ["cycle", "random"])
def test_an_epoch_follows_from_seed_and_number(views: StoreViews, policy: Any) -> None:
    def drawn(number: int, seed: int = 1) -> list[list[int]]:
        return views.epoch(number, batch_size=50, seed=seed, policy=policy).views_KB.tolist()  # type: ignore[no-any-return]

    assert drawn(2) == drawn(2) and drawn(2) != drawn(3) and drawn(2) != drawn(2, seed=5)
    images = [view // 4 for batch in drawn(2) for view in batch]
    # An incomplete last batch is dropped.
    assert len(images) == len(set(images)) == 100
    seeds = {view % 4 for batch in drawn(2) for view in batch}
    assert seeds == ({2} if policy == "cycle" else {0, 1, 2, 3})


@pytest.mark.parametrize("policy", ["cycle", "random", "informative", "curriculum"])
def test_an_epoch_is_what_a_student_sees(
    policy: Any, taught: RunConfig, make_config: Callable[..., RunConfig], student_table: Callable[..., dict[str, Any]]
) -> None:
    config = make_config(student=[student_table(views=policy, seeds=[3], epochs=6)])
    config = config.model_copy(update={"store": taught.store})
    with open_reader(taught.store.path) as reader:
        ingredients = gather(config, student_plans(config)[0], load_data(config.data), reader)
    sampler, student = ingredients.sampler, ingredients.training
    views = StoreViews(taught.store.path, class_names=student.class_names, images=student.image_ids_M)
    for number in (0, 1, 5):
        order_M = epoch_order(sampler, number, 16)
        seeds_M = sampler.epoch(number).seeds_M[order_M]
        epoch = views.epoch(number, batch_size=16, seed=3, policy=policy, num_epochs=6)
        batches = list(epoch)
        assert torch.cat([batch["image"] for batch in batches]).tolist() == student.image_ids_M[order_M].tolist()
        assert torch.cat([batch["seed"] for batch in batches]).tolist() == seeds_M.tolist()


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_loader_that_draws_for_itself_reads_batches(
    workers: int, taught: RunConfig, views: StoreViews, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[int]()
    read = Reader.read

    def counting(self: Reader, array: str, images_B: Any, seeds_B: Any, out: Any = None) -> Any:
        asked.append(len(images_B))
        return read(self, array, images_B, seeds_B, out)

    with_crops = StoreViews(taught.store.path, arrays=("crop/box", "crop/flip"))
    monkeypatch.setattr(Reader, "read", counting)
    loader = DataLoader(with_crops, batch_size=200, shuffle=True, num_workers=workers)
    batches = list(loader)
    assert [len(batch["image"]) for batch in batches] == [200, 200, 112]
    # Each array by one read of each batch, and in a worker none is counted here.
    assert workers or (set(asked) == {200, 112} and len(asked) <= 9)
    monkeypatch.undo()
    for batch in batches:
        again = with_crops[batch["image"].numpy() * 4 + batch["seed"].numpy()]
        assert batch.keys() == again.keys() and all(torch.equal(batch[name], again[name]) for name in batch)
    assert sorted(torch.cat([b["image"] * 4 + b["seed"] for b in batches]).tolist()) == list(range(512))


@pytest.mark.parametrize("start", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_workers_bring_the_same_batches(taught: RunConfig, start: str) -> None:
    views = StoreViews(taught.store.path, folder=image_root(taught))
    epoch = views.epoch(0, batch_size=32)
    here = list(epoch)
    there = list(epoch.loader(num_workers=2, multiprocessing_context=start))
    assert len(here) == len(there) == len(epoch) == 4
    for ours, theirs in zip(here, there, strict=True):
        assert ours.keys() == theirs.keys() == {"image", "seed", "logits", "pixels"}
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_it_is_pickled_by_its_path(views: StoreViews) -> None:
    content = pickle.dumps(views)
    assert len(content) < 200_000
    again: StoreViews = pickle.loads(content)
    assert torch.equal(again[[3]]["logits"], views[[3]]["logits"])


def test_what_cannot_be_is_told_at_once(taught: RunConfig, tmp_path: Path) -> None:
    store = taught.store.path
    with pytest.raises(ValueError, match="found the image 128, expected numbers from 0 to 127"):
        StoreViews(store, images=[0, 128])
    with pytest.raises(CacheError, match="no labels over the 1 classes asked for"):
        StoreViews(store, class_names=["a fridge"])
    with pytest.raises(ValueError, match="opencv"):
        StoreViews(store, folder=tmp_path, decoder="opencv")
    with pytest.raises(CacheError, match="found no store"):
        StoreViews(tmp_path / "none.zarr")
    with pytest.raises(CacheError, match="teacher/logit"):
        StoreViews(store, arrays=("teacher/logit",))
    with pytest.raises(ValueError, match="found no images, expected at least one"):
        StoreViews(store, images=[])


def test_epochs_that_cannot_be_are_told(views: StoreViews) -> None:
    with pytest.raises(ValueError, match="found batch_size = 0, expected 1 or more"):
        views.epoch(0, batch_size=0)
    with pytest.raises(ValueError, match="found the policy 'shuffle', expected one of cycle, random, informative"):
        views.epoch(0, batch_size=4, policy="shuffle")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'curriculum' without num_epochs"):
        views.epoch(0, batch_size=4, policy="curriculum")


def test_a_loop_of_ones_own_learns_from_it(taught: RunConfig, views: StoreViews) -> None:
    """A linear map from the teacher's features to its own logits, which is there to be found."""
    map_DC = torch.zeros(views[0]["teacher/embedding"].shape[0], len(views.class_names), requires_grad=True)
    optimizer, losses = torch.optim.Adam([map_DC], lr=0.3), list[float]()

    def loss_of(batch: dict[str, Tensor]) -> Tensor:
        said = (batch["teacher/embedding"].float() @ map_DC).log_softmax(-1)
        return torch.nn.functional.kl_div(said, batch["logits"].log_softmax(-1), log_target=True, reduction="batchmean")

    for number in range(30):
        for batch in views.epoch(number, batch_size=64, policy="random"):
            loss = loss_of(batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]
