"""What the teacher's rows are: unit embeddings, and logits that float16 holds where it matters."""

from pathlib import Path

import numpy as np
import torch

from fdbpl.cache_layout.reader import open_reader
from fdbpl.pipeline.clip.backbone import load_backbone
from fdbpl.pipeline.config import ModelConfig, RunConfig
from fdbpl.pipeline.labels_manifest import CLASS_LIST
from fdbpl.pipeline.teach import TeacherLabels


def test_rows_are_unit_embeddings_and_logits_less_their_largest(shared: Path) -> None:
    teacher = load_backbone(
        ModelConfig(model="fdbpl-tiny-teacher", pretrained=str(shared / "models" / "teacher.safetensors"))
    )
    classifier = torch.nn.functional.normalize(torch.randn(32, 64, generator=torch.Generator().manual_seed(0)), dim=-1)
    pixels = torch.randint(0, 256, (64, 3, 48, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    rows = TeacherLabels(teacher, classifier.numpy())(pixels)
    embedding = teacher.encode_pixels(pixels)
    assert rows["teacher/embedding"].dtype == rows["teacher/logits"].dtype == np.float16
    np.testing.assert_allclose(rows["teacher/embedding"], embedding, atol=5e-4)
    assert rows["teacher/logits"].max(axis=1).tolist() == [0.0] * 64
    exact = (teacher.logit_scale * embedding @ classifier.T).softmax(dim=-1)
    stored = torch.from_numpy(rows["teacher/logits"]).float().softmax(dim=-1)
    assert (stored - exact).abs().max() < 2e-4  # as the class promises


def test_stored_logits_follow_from_stored_embeddings(taught: RunConfig) -> None:
    """The text embedding of the class list is in the store, so other class lists can be served later."""
    with open_reader(taught.store.path) as reader:
        images, seeds = np.arange(128), np.arange(128) % 4
        embedding = reader.read("teacher/embedding", images, seeds).astype(np.float32)
        text = reader.class_list(CLASS_LIST).text_embedding_CD
        logits = reader.manifest.fields["teacher"]["logit_scale"] * embedding @ text.T
        logits -= logits.max(axis=1, keepdims=True)
        np.testing.assert_allclose(reader.read("teacher/logits", images, seeds), logits, rtol=2e-3, atol=0.02)
