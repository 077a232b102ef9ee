"""The teacher pass: what a large CLIP says of every crop of every training image, stored once.

The store's metadata is made before any task, by one process; then each task writes whole blocks that no other
task writes, and a block that exists is not computed again.
"""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fdbpl.cache_layout.array_spec import ArraySpec
from fdbpl.cache_layout.create import create_store
from fdbpl.cache_layout.encodings import (
    EMBEDDING,
    LOGITS,
    TOPK,
    encode_embedding,
    encode_logits,
    encode_topk,
    label_arrays,
)
from fdbpl.cache_layout.errors import ManifestMismatch
from fdbpl.cache_layout.manifest import differences
from fdbpl.cache_layout.store import Store, open_store
from fdbpl.pipeline.clip.backbone import Backbone, load_backbone
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.data.exclusions import check_excluded
from fdbpl.pipeline.data.labelled import labelled
from fdbpl.pipeline.data.load import check_trainable, load_data
from fdbpl.pipeline.data.scan_run import Say, scan_run
from fdbpl.pipeline.datasets.data_set import DataSet
from fdbpl.pipeline.device import choose_device, decoder_name, device_here, planned_device
from fdbpl.pipeline.labels.class_lists import reads_labels, wanted_names
from fdbpl.pipeline.labels.grid import new_grid
from fdbpl.pipeline.labels.grow import grow_store, refuse, wanting
from fdbpl.pipeline.labels.manifest import (
    CAMPAIGN,
    CLASS_LIST,
    cutting_device,
    decoder_identity,
    encodings_written,
    expected_fields,
    full_manifest,
    library_versions,
)
from fdbpl.pipeline.labels.passes import OnProgress, write_pass
from fdbpl.pipeline.loading.decoder import Decoder, kept_decoder, make_decoder
from fdbpl.pipeline.loading.transfer import Arrived, to_host
from fdbpl.pipeline.loading.windows import ComputedWindows, Pixels


def prepare_store(
    config: RunConfig,
    on_progress: Callable[[int, int], None] | None = None,
    *,
    grow: bool = False,
    say: Say | None = None,
) -> Store:
    """The run's store: opened where it exists and fits, else made from a scan of all training images.

    Args:
        grow: add the images, seeds and class names that an existing store lacks, where it is refused otherwise.
        say: called with what the scan found worth knowing, a line each.

    Raises:
        ManifestMismatch: a store of other crops, another teacher or templates.
        NoSuchLabels: a store whose labels do not answer for the run's classes, and cannot be made to.
        ValueError: a store that lacks something, and is not to grow; bad images (all of them named) or a store that
            excludes some, where the config does not; an unknown model, a checkpoint of another model, encodings that
            the classes or the run's students do not allow.
    """
    data = load_data(config.data)
    check_trainable(data)
    if config.store.path.exists():
        store = open_store(config.store.path)
        check_maker(store, config)
        check_excluded(store, config, data)
        lacks = wanting(store, config, data)
        if lacks and grow:
            return grow_store(store, config, data, lacks, on_progress, say)
        refuse(store, config, lacks)
        return store
    check_encodings(config, data)
    teacher = load_backbone(config.teacher, device_here(config))
    decoder = make_decoder(decoder_name(config), device="cpu")
    own, *vocabularies = wanted_names(config, data)
    class_lists = [own.in_store(teacher, CLASS_LIST), *(names.in_store(teacher) for names in vocabularies)]
    # Last, for it takes longest: nothing else is refused after it.
    wanted = labelled(config, data)
    images = scan_run(
        config, wanted.paths, wanted.labels, on_progress=on_progress, digests=config.data.digests, say=say
    )
    grid = new_grid(config, len(images))
    return create_store(
        config.store.path,
        manifest=full_manifest(config, data, teacher=teacher, decoder=decoder, images=images),
        images=images,
        class_lists=class_lists,
        num_seeds=grid.num_seeds,
        images_per_block=grid.images_per_block,
        seeds_per_block=grid.seeds_per_block,
        campaigns={
            CAMPAIGN: (
                ArraySpec(name="crop/box", row_shape=(4,), dtype="int32"),
                ArraySpec(name="crop/flip", row_shape=(), dtype="bool"),
                *label_arrays(
                    config.store.labels,
                    width=teacher.embedding_width,
                    num_classes=len(data.class_names),
                    top_k=config.store.top_k,
                ),
            )
        },
    )


def check_encodings(config: RunConfig, data: DataSet) -> None:
    """Refuse encodings that cannot be, or that the run's own students could not use, before the teacher runs.

    Raises:
        ValueError: as said.
    """
    store = config.store
    if "topk" in store.labels and store.top_k > len(data.class_names):
        raise ValueError(
            f"store.top_k: found {store.top_k}, expected at most {len(data.class_names)}, the number of classes of "
            f"{config.data.name}: lower it"
        )
    reading = [table for table in config.student if reads_labels(table)]
    tables = [table for table in reading if table.vocabulary]
    if tables and "embedding" not in store.labels:
        raise ValueError(
            f'store.labels: found {", ".join(store.labels)}, expected "embedding" too: the labels of the vocabulary '
            f"{tables[0].vocabulary} follow from embeddings alone"
        )
    part = [table for table in reading if table.classes == "base"]
    if store.labels == ("topk",) and part:
        raise ValueError(
            'store.labels: found topk alone, which answers for all classes only, expected "embedding" or "logits" '
            f'beside it: students of {part[0].model} read labels over classes = "base"; add one, or set "all" there'
        )


def check_fits(store: Store, config: RunConfig, data: DataSet) -> None:
    """Refuse a store that the config would not have made, or that holds less than it asks for.

    Raises:
        ManifestMismatch, ValueError: as `check_maker` and `check_excluded`, and naming all that the store lacks.
    """
    check_maker(store, config)
    check_excluded(store, config, data)
    refuse(store, config, wanting(store, config, data))


def check_maker(store: Store, config: RunConfig) -> None:
    """Refuse a store that was made in another way than the config says, naming each field; and an unfinished one that
    the run's tasks could not finish in the way it was begun. Raises ManifestMismatch."""
    expected = expected_fields(config)
    if not store.campaign(CAMPAIGN).is_sealed:
        name = decoder_name(config)
        device = cutting_device(name, planned_device(config))
        expected |= {
            "decoder": {"name": name, "device": device},
            "batch_size": config.loading.batch_size,
            "compiled": config.loading.compile,
            "labels": encodings_written(config),
        }
    found = differences(store.manifest, expected)
    if found:
        raise ManifestMismatch(str(store.path), found)


def teach_block(config: RunConfig, block_id: str, on_progress: OnProgress) -> int:
    """Compute and publish one block; the number of views computed, 0 where the block is there already."""
    store = open_store(config.store.path)
    block = next((block for block in store.missing_blocks(CAMPAIGN) if block.id == block_id), None)
    if block is None:
        return 0
    device = choose_device(config.loading.device)
    teacher = load_backbone(config.teacher, device, compiled=config.loading.compile)
    decoder = kept_decoder(store.manifest.fields["decoder"]["name"], device)
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
        encode=TeacherLabels(
            teacher, store.class_list(CLASS_LIST).text_embedding_CD, config.store.labels, config.store.top_k
        ),
        extra_rows={"crop/box": boxes_V4.reshape(*shape, 4), "crop/flip": flips_V.reshape(shape)},
        batch_size=config.loading.batch_size,
        on_progress=on_progress,
    )


class TeacherLabels:
    """Pixels to the rows that are stored: the teacher runs once, and each encoding is made of its float32 numbers.

    The encodings and how far off they can be: `cache_layout.encodings`, `cache_layout.error_bounds`.
    """

    def __init__(self, teacher: Backbone, classifier_CD: np.ndarray, encodings: Collection[str], top_k: int) -> None:
        self._teacher, self._encodings, self._top_k = teacher, encodings, top_k
        self._classifier_CD = torch.tensor(classifier_CD, device=teacher.device)

    def __call__(self, pixels_BCHW: Tensor) -> Arrived:
        embedding_BD = self._teacher.encode_pixels(pixels_BCHW)
        wanted: dict[str, Tensor] = {}
        if "embedding" in self._encodings:
            wanted["embedding"] = embedding_BD
        if set(self._encodings) != {"embedding"}:
            wanted["logits"] = self._teacher.logit_scale * embedding_BD @ self._classifier_CD.T
        arrived = to_host(wanted)
        return lambda: self._rows(arrived())

    def _rows(self, found: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        rows: dict[str, np.ndarray] = {}
        if "embedding" in self._encodings:
            rows[EMBEDDING] = encode_embedding(found["embedding"])
        if "logits" in self._encodings:
            rows[LOGITS] = encode_logits(found["logits"])
        if "topk" in self._encodings:
            rows |= zip(TOPK, encode_topk(found["logits"], self._top_k), strict=True)
        return rows


def image_root(config: RunConfig) -> Path:
    return config.data.folder / config.data.images


def _check_same_maker(store: Store, config: RunConfig, teacher: Backbone, decoder: Decoder) -> None:
    """A block is only added by the very weights, decoder and libraries that made the others."""
    expected = {
        "teacher": teacher.identity(),
        "preprocessing": teacher.preprocessing(),
        "decoder": decoder_identity(decoder, decoder.device.type),
        "batch_size": config.loading.batch_size,
        "compiled": teacher.is_compiled,
        "labels": encodings_written(config),
        "versions": library_versions(),
    }
    found = differences(store.manifest, expected)
    if found:
        raise ManifestMismatch(str(store.path), found)
