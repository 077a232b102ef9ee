"""View policies through whole students: which crops they see, what that costs, what `importance` does to the loss."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from fdbpl.cache_layout.reader import Reader, open_reader
from fdbpl.cache_layout.soft_labels import SoftLabels
from fdbpl.pipeline.config import RunConfig, StudentConfig
from fdbpl.pipeline.data.load import load_data
from fdbpl.pipeline.run_folder import RunFolder
from fdbpl.pipeline.students.checked import student_plans
from fdbpl.pipeline.training.checkpoint import prompts_digest, read_prompts
from fdbpl.pipeline.training.gather import gather, gather_all
from fdbpl.pipeline.training.ingredients import Ingredients
from fdbpl.pipeline.training.student_run import run_student
from fdbpl.pipeline.training.train import train
from fdbpl.pipeline.training.trainee import Trainee

POLICIES = ("cycle", "random", "informative", "curriculum")
IMAGES, SEEDS = 32, 4
# Prompts that stay where they are: losses then differ by the views alone.
STILL = {"optimizer": "sgd", "learning_rate": 1e-12, "warmup_learning_rate": 1e-12, "weight_decay": 0.0}
ConfigOf = Callable[..., RunConfig]


@pytest.fixture
def config_of(
    taught: RunConfig, make_config: Callable[..., RunConfig], student_table: Callable[..., dict[str, Any]]
) -> ConfigOf:
    """Makes a config with one student of the finished store, with changes to its table."""

    def make(**changes: Any) -> RunConfig:
        return make_config(student=[student_table(**changes)]).model_copy(update={"store": taught.store})

    return make


def gathered(config: RunConfig, reader: Reader) -> Ingredients:
    return gather(config, student_plans(config)[0], load_data(config.data), reader)


def losses(config: RunConfig) -> list[float]:
    """The loss of each epoch."""
    (plan,) = student_plans(config)
    with open_reader(config.store.path) as reader:
        ingredients = gathered(config, reader)
        trainee = Trainee(ingredients=ingredients, config=plan.config)
        train([trainee])
    return [epoch["loss"] for epoch in trainee.log.epochs]


def test_a_student_differs_by_policy_and_follows_from_its_seed(config_of: ConfigOf) -> None:
    found = {policy: losses(config_of(views=policy, epochs=3)) for policy in POLICIES}
    assert len({tuple(epochs) for epochs in found.values()}) == 4
    for policy in POLICIES:
        assert losses(config_of(views=policy, epochs=3)) == found[policy]
        assert losses(config_of(views=policy, epochs=3, seeds=[2])) != found[policy]


def test_records_differ_by_policy(config_of: ConfigOf) -> None:
    records = {}
    for policy in POLICIES:
        config = config_of(views=policy, name=policy, epochs=2)
        records[policy] = run_student(config, student_plans(config)[0])
        assert records[policy]["identity"]["student"]["views"] == policy
        assert (records[policy]["steps"], records[policy]["views"]) == (4, 64)
    assert len({record["final_loss"] for record in records.values()}) == 4


def test_informative_views_are_those_of_which_the_teacher_knows_more(config_of: ConfigOf) -> None:
    config = config_of(views="informative")
    with open_reader(config.store.path) as reader:
        sampler = gathered(config, reader).sampler
    weights_MS = sampler.weights_MS
    assert weights_MS is not None and weights_MS.shape == (IMAGES, SEEDS)
    assert weights_MS.min() > -1e-5 and weights_MS.max() < 1 + 1e-5

    def mean_weight(one: Any) -> float:
        epochs = [weights_MS[np.arange(IMAGES), one.epoch(number).seeds_M].mean() for number in range(300)]
        return float(np.mean(epochs))

    even = float(weights_MS.mean())
    assert mean_weight(replace(sampler, policy="random")) == pytest.approx(even, abs=0.01)
    likely_MS = 0.9 * weights_MS / weights_MS.sum(axis=1, keepdims=True) + 0.1 / SEEDS
    expected = float((likely_MS * weights_MS).sum(axis=1).mean())
    assert expected > even + 0.03
    assert mean_weight(sampler) == pytest.approx(expected, abs=0.01)
    curriculum = replace(sampler, policy="curriculum", num_epochs=40)
    first, last = (
        np.mean([weights_MS[np.arange(IMAGES), curriculum.epoch(number).seeds_M].mean() for number in numbers])
        for numbers in (range(8), range(32, 40))
    )
    assert first > last + 0.02


def test_who_asks_the_teacher_itself_may_choose_views_by_the_store(config_of: ConfigOf) -> None:
    """Informative views with online supervision: the same views, the same losses as from stored labels."""
    online = losses(config_of(views="informative", supervision="online", features="live", epochs=3))
    assert online == pytest.approx(losses(config_of(views="informative", features="live", epochs=3)), rel=1e-3)


@pytest.mark.parametrize(
    ("policy", "reads", "planes", "rows"),
    # The labels of all steps are one chunk, a read. Who weighs reads all of them once before, a seed a read. Who
    # cycles asks for a seed's planes of labels and features, in each of the first 4 epochs; others in each of 8 for the
    # rows that they have not read yet.
    [("cycle", 1, 8, 0), ("random", 1, 0, 16), ("informative", 5, 0, 16), ("curriculum", 5, 0, 16)],
)
def test_what_a_policy_reads(
    policy: str, reads: int, planes: int, rows: int, config_of: ConfigOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {"reads": 0, "planes": 0, "rows": 0}

    def counting(name: str, method: Any) -> Any:
        def call(self: Any, *arguments: Any) -> Any:
            found[name] += 1
            return method(self, *arguments)

        return call

    for owner, method, name in (
        (SoftLabels, "read_rows", "reads"),
        (Reader, "prefetch", "planes"),
        (Reader, "prefetch_rows", "rows"),
    ):
        monkeypatch.setattr(owner, method, counting(name, getattr(owner, method)))
    assert len(losses(config_of(views=policy, epochs=8))) == 8
    assert found == {"reads": reads, "planes": planes, "rows": rows}


def test_students_of_the_same_images_share_the_weights_of_their_views(
    config_of: ConfigOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    method = SoftLabels.read

    def counted(self: SoftLabels, *views: Any) -> Any:
        read.append(len(views[0]))
        return method(self, *views)

    monkeypatch.setattr(SoftLabels, "read", counted)
    config = config_of(views="informative", shots=0, seeds=[1, 2, 3])
    with open_reader(config.store.path) as reader:
        one, *others = gather_all(config, student_plans(config), load_data(config.data), reader)
    assert read == [len(one.training)] * SEEDS
    assert all(other.sampler.weights_MS is one.sampler.weights_MS for other in others)
    read.clear()
    config = config_of(views="informative", seeds=[1, 2, 3])
    with open_reader(config.store.path) as reader:
        gather_all(config, student_plans(config), load_data(config.data), reader)
    assert read == [IMAGES] * SEEDS * 3, "of few-shot subsets each is another"


def test_a_warm_up_on_informative_views_is_followed_by_all(
    config_of: ConfigOf, student_table: Callable[..., dict[str, Any]]
) -> None:
    """Two stages: the second begins with what the first has learned, and is another when the first saw other crops."""

    def stages(views: str) -> dict[str, Any]:
        tables = [
            student_table(name="warm", views=views, epochs=3),
            student_table(name="all", starts_from="warm", epochs=1, optim=STILL),
        ]
        config = config_of()
        students = tuple(
            StudentConfig.model_validate(table | {"pretrained": config.student[0].pretrained}) for table in tables
        )
        config = config.model_copy(update={"student": students, "folder": config.folder / views})
        warm, every = student_plans(config)
        run_student(config, warm)
        record = run_student(config, every)
        prompts, after = (
            read_prompts(RunFolder(config.folder).student(plan.id).prompts_file)[0] for plan in (warm, every)
        )
        assert record["starts_from"]["prompts"] == prompts_digest(prompts)
        assert torch.allclose(after["positive"], prompts["positive"], rtol=0, atol=1e-6)
        return {"identity": record["identity"], "prompts": after["positive"]}

    informative, cycled = stages("informative"), stages("cycle")
    assert (informative["prompts"] - cycled["prompts"]).abs().max() > 1e-3
    differing = {key for key, value in informative["identity"].items() if cycled["identity"][key] != value}
    assert differing == {"starts_from"}


@pytest.mark.parametrize(("importance", "farthest", "nearest"), [(True, 0.02, 0.0), (False, 1.0, 0.05)])
def test_importance_makes_the_loss_that_of_all_crops(
    importance: bool, farthest: float, nearest: float, config_of: ConfigOf
) -> None:
    """One cycle over the seeds sees every crop once. Informative views see other crops more often; weighed by their
    importance their loss is the same on average, and without it is another one."""
    all_crops = np.mean(losses(config_of(epochs=SEEDS, optim=STILL)))
    found = np.mean(losses(config_of(views="informative", importance=importance, epochs=100, optim=STILL)))
    assert nearest <= abs(found - all_crops) / all_crops < farthest
