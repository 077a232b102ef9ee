"""What the teacher's rows are, and which of them a config asks for."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fdbpl.cache_layout.encodings import TOPK
from fdbpl.cache_layout.error_bounds import logits_bound
from fdbpl.cache_layout.errors import ManifestMismatch
from fdbpl.cache_layout.reader import open_reader
from fdbpl.pipeline.clip.backbone import load_backbone
from fdbpl.pipeline.config import ModelConfig, RunConfig
from fdbpl.pipeline.labels.manifest import CAMPAIGN, CLASS_LIST
from fdbpl.pipeline.labels.teach import TeacherLabels, prepare_store, teach_block

MakeConfig = Callable[..., RunConfig]
StudentTable = Callable[..., dict[str, Any]]


def test_rows_are_unit_embeddings_and_logits_less_their_largest(shared: Path) -> None:
    teacher = load_backbone(
        ModelConfig(model="fdbpl-tiny-teacher", pretrained=str(shared / "models" / "teacher.safetensors"))
    )
    classifier = torch.nn.functional.normalize(torch.randn(32, 64, generator=torch.Generator().manual_seed(0)), dim=-1)
    pixels = torch.randint(0, 256, (64, 3, 48, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    rows = TeacherLabels(teacher, classifier.numpy(), ("embedding", "logits"), 0)(pixels)()
    assert sorted(rows) == ["teacher/embedding", "teacher/logits"]
    embedding = teacher.encode_pixels(pixels)
    assert rows["teacher/embedding"].dtype == rows["teacher/logits"].dtype == np.float16
    np.testing.assert_allclose(rows["teacher/embedding"], embedding, atol=5e-4)
    assert rows["teacher/logits"].max(axis=1).tolist() == [0.0] * 64
    exact = (teacher.logit_scale * embedding @ classifier.T).softmax(dim=-1)
    stored = torch.from_numpy(rows["teacher/logits"]).float().softmax(dim=-1)
    assert (stored - exact).abs().max() < logits_bound(32).probability


def test_stored_logits_follow_from_stored_embeddings(taught: RunConfig) -> None:
    """The text embedding of the class list is in the store, so other class lists can be served later."""
    with open_reader(taught.store.path) as reader:
        images, seeds = np.arange(128), np.arange(128) % 4
        embedding = reader.read("teacher/embedding", images, seeds).astype(np.float32)
        text = reader.class_list(CLASS_LIST).text_embedding_CD
        logits = reader.manifest.fields["teacher"]["logit_scale"] * embedding @ text.T
        logits -= logits.max(axis=1, keepdims=True)
        np.testing.assert_allclose(reader.read("teacher/logits", images, seeds), logits, rtol=2e-3, atol=0.02)


def with_labels(config: RunConfig, *labels: str, **changes: Any) -> RunConfig:
    return config.model_copy(update={"store": config.store.model_copy(update={"labels": labels, **changes})})


def test_a_store_has_the_encodings_that_its_config_names_and_states_them(make_config: MakeConfig) -> None:
    config = with_labels(make_config(), "topk", "embedding", top_k=5)
    store = prepare_store(config)
    assert sorted(store.arrays) == sorted(["crop/box", "crop/flip", "teacher/embedding", *TOPK])
    assert store.arrays["teacher/topk_index"].row_shape == (5,)
    assert store.manifest.fields["labels"] == {"encodings": ["embedding", "topk"], "top_k": 5}


def test_an_unfinished_store_is_gone_on_with_in_the_encodings_that_it_was_begun_in(make_config: MakeConfig) -> None:
    """A block of other rows would not fit the others; and a task that was queued before the config changed sees it."""
    config = with_labels(make_config(), "embedding", "topk", top_k=5)
    store = prepare_store(config)
    for other, field in (
        (with_labels(config, "embedding"), "labels.encodings: found ['embedding', 'topk'], expected ['embedding']"),
        (with_labels(config, "topk", "embedding", top_k=6), "labels.top_k: found 5, expected 6"),
    ):
        for refuse in (
            lambda other=other: prepare_store(other),
            lambda other=other: teach_block(other, "0.0", _silent),
        ):
            with pytest.raises(ManifestMismatch) as caught:
                refuse()
            assert field in str(caught.value)
    assert prepare_store(with_labels(config, "topk", "embedding", top_k=5)).path == store.path
    assert len(store.missing_blocks(CAMPAIGN)) == len(store.blocks(CAMPAIGN))


def test_a_finished_store_serves_a_config_of_other_encodings(
    taught: RunConfig, make_config: MakeConfig, student_table: StudentTable
) -> None:
    config = make_config(student=[student_table(classes="all")]).model_copy(update={"store": taught.store})
    assert prepare_store(with_labels(config, "topk")).path == taught.store.path


def test_more_kept_classes_than_there_are_is_refused_before_anything_is_made(make_config: MakeConfig) -> None:
    config = with_labels(make_config(), "logits", "topk", top_k=33)
    with pytest.raises(
        ValueError, match=r"store\.top_k: found 33, expected at most 32, the number of classes of world"
    ):
        prepare_store(config)
    assert not config.store.path.exists()
    assert prepare_store(with_labels(config, "logits", top_k=33)).path == config.store.path, "no topk, no K"


def test_topk_alone_is_refused_where_a_student_would_learn_the_base_half(make_config: MakeConfig) -> None:
    config = with_labels(make_config(), "topk")
    with pytest.raises(ValueError, match=r"store\.labels: found topk alone, .* expected \"embedding\" or \"logits\""):
        prepare_store(config)
    assert not config.store.path.exists()


def _silent(done: int, total: int) -> None:
    pass
