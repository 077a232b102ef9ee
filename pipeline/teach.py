"""The teacher pass: what a large CLIP says of every crop of every training image, stored once.

The store's metadata is made before any task, by one process; then each task writes whole blocks that no other
task writes, and a block that exists is not computed again.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fdbpl.cache_layout.array_spec import ArraySpec
from fdbpl.cache_layout.class_list import ClassList
from fdbpl.cache_layout.create import create_store
from fdbpl.cache_layout.errors import ManifestMismatch
from fdbpl.cache_layout.manifest import differences
from fdbpl.cache_layout.store import Store, open_store
from fdbpl.pipeline.clip.backbone import Backbone, load_backbone
from fdbpl.pipeline.clip.zero_shot import text_classifier
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.data import load_data
from fdbpl.pipeline.datasets.data_set import DataSet
from fdbpl.pipeline.datasets.scan import scan_images
from fdbpl.pipeline.device import choose_device, decoder_name, device_here, planned_device
from fdbpl.pipeline.labels_manifest import (
    CLASS_LIST,
    class_columns,
    decoder_identity,
    expected_fields,
    full_manifest,
    library_versions,
)
from fdbpl.pipeline.loading.decoder import Decoder, make_decoder
from fdbpl.pipeline.passes import OnProgress, write_pass
from fdbpl.pipeline.windows import ComputedWindows, Pixels

CAMPAIGN = "teacher"


def prepare_store(config: RunConfig, on_progress: Callable[[int, int], None] | None = None) -> Store:
    """The run's store: opened where it exists and fits, else made from a scan of all training images.

    Raises:
        ManifestMismatch: a store of other crops, another teacher, other images or templates.
        ValueError: bad images (all of them named), an unknown model, a checkpoint of another model.
    """
    data = load_data(config.data)
    if config.store.path.exists():
        store = open_store(config.store.path)
        check_fits(store, config, data)
        return store
    teacher = load_backbone(config.teacher, device_here(config))
    images = scan_images(data.root, data.train.paths, data.train.labels, on_progress=on_progress)
    decoder = make_decoder(decoder_name(config), device="cpu")
    classifier_CD = text_classifier(teacher, data.class_names, config.teacher.templates)
    return create_store(
        config.store.path,
        manifest=full_manifest(config, data, teacher=teacher, decoder=decoder, images=images),
        images=images,
        class_lists=[
            ClassList(
                name=CLASS_LIST,
                class_names=data.class_names,
                templates=config.teacher.templates,
                text_embedding_CD=classifier_CD.cpu().numpy(),
            )
        ],
        num_seeds=config.crops.seeds,
        images_per_block=min(config.store.images_per_block, len(images)),
        seeds_per_block=min(config.store.seeds_per_block, config.crops.seeds),
        campaigns={
            CAMPAIGN: (
                ArraySpec(name="crop/box", row_shape=(4,), dtype="int32"),
                ArraySpec(name="crop/flip", row_shape=(), dtype="bool"),
                ArraySpec(name="teacher/embedding", row_shape=(teacher.embedding_width,), dtype="float16"),
                ArraySpec(name="teacher/logits", row_shape=(len(data.class_names),), dtype="float16"),
            )
        },
    )


def check_fits(store: Store, config: RunConfig, data: DataSet) -> None:
    """Refuse a store that the config would not have made, naming each field; one with fewer seeds or classes; and
    an unfinished one that the run's tasks could not finish in the way it was begun.

    Raises:
        ManifestMismatch, ValueError: as said.
    """
    expected = expected_fields(config, data)
    if not store.campaign(CAMPAIGN).is_sealed:
        name = decoder_name(config)
        device = planned_device(config) if name == "dali" else "cpu"
        expected |= {"decoder": {"name": name, "device": device}, "batch_size": config.loading.batch_size}
    found = differences(store.manifest, expected)
    if found:
        raise ManifestMismatch(str(store.path), found)
    class_columns(store.class_list(CLASS_LIST), data.class_names, str(store.path))
    if config.crops.seeds > store.grid.num_seeds:
        raise ValueError(
            f"crops.seeds: found {config.crops.seeds}, expected at most {store.grid.num_seeds}, the seeds that "
            f"the store at {store.path} holds: lower it, or use another store path"
        )


def teach_block(config: RunConfig, block_id: str, on_progress: OnProgress) -> int:
    """Compute and publish one block; the number of views computed, 0 where the block is there already."""
    store = open_store(config.store.path)
    block = next((block for block in store.missing_blocks(CAMPAIGN) if block.id == block_id), None)
    if block is None:
        return 0
    device = choose_device(config.loading.device)
    teacher = load_backbone(config.teacher, device)
    decoder = make_decoder(store.manifest.fields["decoder"]["name"], device=device)
    _check_same_maker(store, config, teacher, decoder)
    windows = ComputedWindows(config.crops.policy(teacher.image_size), store.images)
    images_V = np.repeat(np.asarray(block.images), len(block.seeds))
    boxes_V4, flips_V = windows(images_V, np.tile(np.asarray(block.seeds), len(block.images)))
    shape = (len(block.images), len(block.seeds))
    return write_pass(
        store,
        CAMPAIGN,
        block,
        pixels=Pixels(decoder, image_root(config), store.images, windows),
        size=teacher.image_size,
        encode=TeacherLabels(teacher, store.class_list(CLASS_LIST).text_embedding_CD),
        extra_rows={"crop/box": boxes_V4.reshape(*shape, 4), "crop/flip": flips_V.reshape(shape)},
        batch_size=config.loading.batch_size,
        on_progress=on_progress,
    )


class TeacherLabels:
    """Pixels to the rows that are stored: unit embedding and scaled logits, both float16.

    Each row's largest logit is taken from all of them before rounding. That changes no probability, and puts the
    fine end of float16 where the probabilities are: over the whole class list the error of p is below 2e-4, where
    plain logits of up to 50 would be off by 0.016, so p by 1.6 %. Among a part of the classes it grows with the
    distance of the best of them from the best of all: 0.4 % of p at a distance of 16, where p was 1e-7.
    """

    def __init__(self, teacher: Backbone, classifier_CD: np.ndarray) -> None:
        self._teacher = teacher
        self._classifier_CD = torch.tensor(classifier_CD, device=teacher.device)

    def __call__(self, pixels_BCHW: Tensor) -> dict[str, np.ndarray]:
        embedding_BD = self._teacher.encode_pixels(pixels_BCHW)
        logits_BC = self._teacher.logit_scale * embedding_BD @ self._classifier_CD.T
        logits_BC -= logits_BC.amax(dim=-1, keepdim=True)
        return {
            "teacher/embedding": embedding_BD.to(torch.float16).cpu().numpy(),
            "teacher/logits": logits_BC.to(torch.float16).cpu().numpy(),
        }


def image_root(config: RunConfig) -> Path:
    return config.data.folder / config.data.images


def _check_same_maker(store: Store, config: RunConfig, teacher: Backbone, decoder: Decoder) -> None:
    """A block is only added by the very weights, decoder and libraries that made the others."""
    expected = {
        "teacher": teacher.identity(),
        "preprocessing": teacher.preprocessing(),
        "decoder": decoder_identity(decoder, decoder.device.type),
        "batch_size": config.loading.batch_size,
        "versions": library_versions(),
    }
    found = differences(store.manifest, expected)
    if found:
        raise ManifestMismatch(str(store.path), found)
