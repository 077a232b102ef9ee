"""KDPL over a vocabulary in place of the training classes: which names a batch takes, what a store holds of them."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from learner_cases import SMALL, views
from small_clips import small_clip
from vit_files import vit_files

from fdbpl.cache_layout.reader import open_reader
from fdbpl.cache_layout.soft_labels import NoSuchLabels
from fdbpl.cache_layout.store import open_store
from fdbpl.pipeline.clip.backbone import load_backbone
from fdbpl.pipeline.clip.zero_shot import text_classifier
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.data.load import load_data
from fdbpl.pipeline.labels.class_lists import VOCABULARY_TEMPLATES
from fdbpl.pipeline.labels.stored import stored_labels
from fdbpl.pipeline.labels.teach import prepare_store
from fdbpl.pipeline.learners.base import LearnerContext
from fdbpl.pipeline.learners.catalog import learner_options
from fdbpl.pipeline.students.checked import student_plans
from fdbpl.pipeline.training import gather as gather_module
from fdbpl.pipeline.training.gather import gather
from fdbpl.pipeline.training.student_record import student_identity
from fdbpl.pipeline.training.student_run import run_student
from fdbpl.pipeline.training.supervision import LikeliestClasses
from fdbpl.pipeline.values import Targets, Views

MakeConfig = Callable[..., RunConfig]
WORDS = ("red", "circle", "blue star", "dog", "green_ring", "yellow square")


class Fixed:
    """A supervision that always says the same."""

    def __init__(self, probabilities: list[list[float]]) -> None:
        self.logits_BC = torch.tensor(probabilities).log()

    row_bytes = 0

    def rows(self, images_B: np.ndarray, seeds_B: np.ndarray) -> tuple[torch.Tensor, ...]:
        return ()

    def targets(self, views: Views) -> Targets:
        return Targets(labels_B=views.labels_B, teacher_logits_BC=self.logits_BC)

    def prefetch(self, images_M: np.ndarray, seeds_M: np.ndarray) -> None:
        pass


def two_views() -> Views:
    ids = torch.arange(2)
    return Views(image_ids_B=ids, seeds_B=ids, labels_B=ids)


def test_a_batch_takes_the_classes_that_are_likeliest_on_average() -> None:
    """Means of the probabilities: .275, .1, .05, .475, .1. Means of the logits would take the last in place of the
    first."""
    whole = Fixed([[0.54, 0.1, 0.05, 0.2, 0.11], [0.01, 0.1, 0.05, 0.75, 0.09]])
    targets = LikeliestClasses(whole, 2).targets(two_views())
    assert targets.chosen_K is not None
    assert targets.chosen_K.tolist() == [0, 3]
    assert torch.equal(targets.teacher(), whole.logits_BC[:, [0, 3]])
    assert targets.labels_B.tolist() == [0, 1]
    assert targets.teacher().softmax(dim=-1)[0].tolist() == pytest.approx([0.54 / 0.74, 0.2 / 0.74])


def test_of_a_smaller_vocabulary_it_takes_all() -> None:
    targets = LikeliestClasses(Fixed([[0.2, 0.8], [0.5, 0.5]]), 1000).targets(two_views())
    assert targets.chosen_K is not None and targets.chosen_K.tolist() == [0, 1]


@pytest.fixture
def names(tmp_path: Path) -> Path:
    """The file of a vocabulary."""
    path = tmp_path / "names.txt"
    path.write_text("\n".join(WORDS) + "\n")
    return path


@pytest.fixture
def config_of(make_config: MakeConfig, student_table: Callable[..., dict[str, Any]], names: Path) -> MakeConfig:
    """Makes a config with one table that learns from the vocabulary, with changes to it; `store` changes the store."""

    def make(store: dict[str, Any] | None = None, **changes: Any) -> RunConfig:
        table = {
            "objective": "kdpl_ca",
            "vocabulary": str(names),
            "objective_options": {"kdpl_ca": {"most_classes": 3}},
        }
        return make_config(student=[student_table(**{**table, **changes})], store=store or {})

    return make


@pytest.fixture
def grown(taught: RunConfig, config_of: MakeConfig, tmp_path: Path) -> dict[str, Any]:
    """The store section of a copy of the finished store, to which the vocabulary was added."""
    shutil.copytree(taught.store.path, tmp_path / "store.zarr")
    section = taught.store.model_dump(mode="json") | {"path": str(tmp_path / "store.zarr")}
    prepare_store(config_of(store=section), grow=True)
    return section


def vocabulary_of(store: Path) -> tuple[str, ...]:
    lists = [open_store(store).class_list(name) for name in open_store(store).class_lists if name != "all"]
    assert all(one.templates == VOCABULARY_TEMPLATES == ("a photo of a {}.",) for one in lists)
    return tuple(name for one in lists for name in one.class_names)


def test_a_store_gets_the_vocabulary_where_it_is_made(config_of: MakeConfig) -> None:
    config = config_of(store={"images_per_block": 48, "seeds_per_block": 2})
    prepare_store(config)
    assert vocabulary_of(config.store.path) == WORDS


def test_a_store_that_is_there_gets_it_when_it_grows(
    taught: RunConfig, config_of: MakeConfig, grown: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=r"(?s)'all' lacks 4 of them: 'red', .*add what is missing by `fdbpl teach"):
        prepare_store(config_of(store=taught.store.model_dump(mode="json")))
    assert vocabulary_of(Path(grown["path"])) == WORDS
    prepare_store(config_of(store=grown))  # nothing is missing any more
    teacher = load_backbone(taught.teacher)
    with open_reader(grown["path"]) as reader:
        labels = stored_labels(reader, WORDS, VOCABULARY_TEMPLATES)
        assert labels.arrays == ("teacher/embedding",)
        embedding_BD = torch.from_numpy(reader.read("teacher/embedding", [3, 7], [1, 2]).astype(np.float32))
        found = torch.from_numpy(labels.read([3, 7], [1, 2]))
    expected = teacher.logit_scale * embedding_BD @ text_classifier(teacher, WORDS, ["a photo of a {}."]).T
    torch.testing.assert_close(found.softmax(-1), expected.softmax(-1), rtol=0, atol=1e-5)


def test_a_student_of_a_vocabulary_is_tested_on_the_data_sets_names(
    config_of: MakeConfig, grown: dict[str, Any]
) -> None:
    config = config_of(store=grown)
    (plan,) = student_plans(config)
    data = load_data(config.data)
    with open_reader(config.store.path) as reader:
        learner = gather(config, plan, data, reader).learner
    assert learner.class_names == WORDS
    assert run_student(config, plan)["steps"] == 4


def test_promptkds_classifier_over_a_vocabulary_is_in_the_store(
    config_of: MakeConfig, grown: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the prompts that its targets are made of; the teacher is not asked."""
    model = vit_files(tmp_path, "vocabulary-vit", layers=1)
    options = {"learner": "promptkd", "learner_options": {"promptkd": {"depth": 1}}, "features": "live", **model}
    config = config_of(store=grown, **options)
    (plan,) = student_plans(config)
    monkeypatch.delattr(gather_module, "text_classifier")
    with open_reader(config.store.path) as reader:
        learner = gather(config, plan, load_data(config.data), reader).learner
    expected = text_classifier(load_backbone(config.teacher), WORDS, ["a photo of a {}."])
    torch.testing.assert_close(learner.classifier(WORDS)["classifier"], expected, rtol=0, atol=1e-6)


def test_views_are_weighed_by_what_is_taught(config_of: MakeConfig, grown: dict[str, Any]) -> None:
    """Over the vocabulary, for a student that knows no class names, whatever its targets come from."""
    weights = []
    for changes in ({}, {"objective": "kdpl", "vocabulary": "", "objective_options": {}}):
        config = config_of(store=grown, views="informative", supervision="online", features="live", **changes)
        (plan,) = student_plans(config)
        with open_reader(config.store.path) as reader:
            found = gather(config, plan, load_data(config.data), reader)
            labels = stored_labels(reader, WORDS, VOCABULARY_TEMPLATES)
            assert found.sampler.weights_MS is not None
            weights.append(found.sampler.weights_MS)
            logits_MC = labels.read(found.training.image_ids_M, np.full(len(found.training), 2))
    probs_MC = torch.from_numpy(logits_MC).softmax(-1)
    entropy_M = -(probs_MC * probs_MC.clamp(min=1e-30).log()).sum(-1)
    assert weights[0][:, 2] == pytest.approx((1 - entropy_M / np.log(6)).numpy(), abs=1e-5)
    assert np.abs(weights[0] - weights[1]).max() > 0.1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocabulary": ""}, "takes its classes from a vocabulary, but there is none: set `vocabulary` to a file"),
        (
            {"objective": "kdpl", "objective_options": {}},
            "a vocabulary, of which the objective kdpl makes no use: take",
        ),
        ({"supervision": "hard"}, "the objective kdpl_ca follows a teacher, but supervision 'hard' gives labels only"),
        ({"vocabulary": "absent.txt"}, "absent.txt, which is no file: set `vocabulary` to a file of class names"),
        (
            {"learner_options": {"coop": {"class_specific": True}}},
            "but others are asked for by kdpl_ca: set class_spec",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, Any], message: str, config_of: MakeConfig) -> None:
    with pytest.raises(ValueError) as caught:
        student_plans(config_of(**changes))
    assert message in str(caught.value)


@pytest.mark.parametrize("content", ["", "red\nblue\nred\n"])
def test_a_vocabulary_has_each_name_once_and_some(content: str, config_of: MakeConfig, names: Path) -> None:
    names.write_text(content)
    with pytest.raises(ValueError, match=r"names\.txt: found \d class names, .* expected some, each once"):
        prepare_store(config_of())


def test_labels_over_a_vocabulary_want_embeddings(config_of: MakeConfig, make_config: MakeConfig) -> None:
    """Refused before the teacher runs where the store is new, and where one is there that has none. A student who asks
    the teacher itself does not want them."""
    only_logits = {"labels": ["logits"]}
    with pytest.raises(ValueError, match=r'found logits, expected "embedding" too: the labels of the vocabulary'):
        prepare_store(config_of(store=only_logits))
    with pytest.raises(ValueError, match=r'found logits, expected "embedding" too: the labels of the vocabulary'):
        prepare_store(config_of(store=only_logits, supervision="online", views="curriculum", features="live"))
    online = config_of(store=only_logits, supervision="online", features="live")
    assert not online.store.path.exists()
    prepare_store(online)
    assert vocabulary_of(online.store.path) == ()
    prepare_store(online)
    with pytest.raises(NoSuchLabels, match="teacher/embedding: not in the store"):
        prepare_store(config_of(store=only_logits), grow=True)


def test_a_student_depends_on_the_content_of_its_vocabulary(config_of: MakeConfig, names: Path, tmp_path: Path) -> None:
    def identity(path: Path) -> dict[str, Any]:
        config = config_of(vocabulary=str(path))
        return student_identity(config, student_plans(config)[0], load_data(config.data))

    first = identity(names)
    moved = tmp_path / "moved.txt"
    moved.write_bytes(names.read_bytes())
    assert identity(moved) == first
    names.write_text(names.read_text().replace("dog", "cat"))
    changed = identity(names)
    assert {key for key in first if first[key] != changed[key]} == {"vocabulary"}


@pytest.mark.parametrize("learner", ["coop", "maple"])
def test_a_step_encodes_the_chosen_names_alone(learner: str) -> None:
    """Of four thousand names: a few positions of each, and those that all share once."""
    backbone = small_clip()
    names = tuple(f"name {number}" for number in range(4000))
    built = learner_options(learner, SMALL[learner]).build(LearnerContext(backbone=backbone, class_names=names))
    chosen_K = torch.tensor([7, 12, 3999])
    built(views(backbone), chosen_K)
    looked_up, encoded = [], []
    module = backbone.module
    module.token_embedding.register_forward_hook(lambda _m, inputs, _o: looked_up.append(inputs[0].numel()))
    module.transformer.resblocks[0].ln_1.register_forward_hook(lambda _m, inputs, _o: encoded.append(inputs[0].shape))
    assert built(views(backbone), chosen_K).logits_BC.shape == (6, 3)
    shared, longest = 5, 8
    assert [shape[:2].numel() for shape in encoded] == [sum(looked_up)]
    assert shared + 3 < sum(looked_up) <= shared + 3 * longest
