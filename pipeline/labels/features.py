"""The student feature pass: a frozen student encoder's features of the stored views, computed once.

A learner whose image encoder is frozen then trains on no image at all. The features are a campaign of the same
store, cut from the very windows that the teacher saw, and they carry their own manifest.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from fdbpl.cache_layout.array_spec import ArraySpec
from fdbpl.cache_layout.errors import CacheError, ManifestMismatch
from fdbpl.cache_layout.grow import add_campaign, grow_campaign
from fdbpl.cache_layout.manifest import differences
from fdbpl.cache_layout.reader import Reader, open_reader
from fdbpl.cache_layout.store import Store, open_store
from fdbpl.pipeline.clip.backbone import Backbone, load_backbone
from fdbpl.pipeline.config import RunConfig, StudentConfig
from fdbpl.pipeline.device import choose_device, device_here
from fdbpl.pipeline.labels.feature_names import campaign_of, expected_features, feature_array, feature_campaigns
from fdbpl.pipeline.labels.manifest import CAMPAIGN as TEACHER
from fdbpl.pipeline.labels.manifest import library_versions
from fdbpl.pipeline.labels.passes import OnProgress, write_pass
from fdbpl.pipeline.labels.replay import replay_decoder
from fdbpl.pipeline.labels.teach import image_root
from fdbpl.pipeline.loading.transfer import Arrived, to_host
from fdbpl.pipeline.loading.windows import Pixels, StoredWindows


def begin_features(config: RunConfig) -> list[str]:
    """Begin every campaign of features that a config's students ask for, over all that the teacher has labelled; their
    names. Raises as `prepare_features`."""
    wanted = feature_campaigns(config)
    for table in wanted.values():
        prepare_features(open_store(config.store.path), config, table)
    return list(wanted)


def prepare_features(store: Store, config: RunConfig, student: StudentConfig) -> None:
    """Add the student's campaign to the store where it is not there yet, and let it reach as far as the teacher's is
    sealed.

    Raises:
        ManifestMismatch: features of that name exist, made by other weights.
    """
    campaign = campaign_of(student)
    windows = store.campaign(TEACHER).sealed_grid
    assert windows is not None, "the workflow asks for a sealed teacher first"
    if campaign in store.campaigns:
        found = store.campaign(campaign)
        check_features(found.manifest, str(store.path), student)
        if found.grid != windows:
            grow_campaign(store, campaign, windows)
        return
    backbone = load_backbone(student, device_here(config))
    array = ArraySpec(name=f"{campaign}/embedding", row_shape=(backbone.embedding_width,), dtype="float16")
    facts = {
        **expected_features(student),
        **backbone.identity(),
        "preprocessing": backbone.preprocessing(),
        "batch_size": config.loading.batch_size,
        "compiled": config.loading.compile,
        "versions": library_versions(),
    }
    add_campaign(store, campaign, [array], manifest=facts, grid=windows)


def check_stored_features(reader: Reader, student: StudentConfig, num_images: int, num_seeds: int) -> None:
    """Refuse a store without this very student's features of so many images and seeds. Raises CacheError."""
    campaign = campaign_of(student)
    if feature_array(student) not in reader.arrays:
        raise CacheError(
            f"the store at {reader.path} has no features of {student.model}, expected {feature_array(student)}: "
            'run `fdbpl features CONFIG`, or set the student\'s features = "live"'
        )
    reader.require_sealed((campaign,))
    check_features(reader.campaign_manifest(campaign), str(reader.path), student)
    found = reader.shape(feature_array(student))[:2]
    if found[0] < num_images or found[1] < num_seeds:
        raise CacheError(
            f"the store at {reader.path} has features of {student.model} for {found[0]} images and {found[1]} seeds, "
            f"expected {num_images} and {num_seeds}: run `fdbpl features CONFIG`, which adds what is missing"
        )


def check_features(found: Mapping[str, Any], where: str, student: StudentConfig) -> None:
    """Refuse features of other weights than the student's. Raises ManifestMismatch, naming each field."""
    differing = differences(found, expected_features(student))
    if differing:
        raise ManifestMismatch(f"{where}, {campaign_of(student)}", differing)


def feature_block(config: RunConfig, campaign: str, block_id: str, on_progress: OnProgress) -> int:
    """Compute and publish one block of features; the number of views, 0 where it is there already."""
    store = open_store(config.store.path)
    block = next((block for block in store.missing_blocks(campaign) if block.id == block_id), None)
    if block is None:
        return 0
    device = choose_device(config.loading.device)
    backbone = load_backbone(feature_campaigns(config)[campaign], device, compiled=config.loading.compile)
    _check_same_maker(store, campaign, backbone)
    with open_reader(store.path, campaigns=(TEACHER,)) as reader:
        return write_pass(
            store,
            campaign,
            block,
            pixels=Pixels(
                replay_decoder(config, store.manifest.fields["decoder"], device),
                image_root(config),
                store.images,
                StoredWindows(reader),
            ),
            size=backbone.image_size,
            encode=_Embed(backbone, f"{campaign}/embedding"),
            batch_size=config.loading.batch_size,
            on_progress=on_progress,
        )


class _Embed:
    def __init__(self, backbone: Backbone, array: str) -> None:
        self._backbone, self._array = backbone, array

    def __call__(self, pixels_BCHW: Tensor) -> Arrived:
        features_BD = self._backbone.encode_pixels(pixels_BCHW)
        return to_host({self._array: features_BD.to(torch.float16)})


def _check_same_maker(store: Store, campaign: str, backbone: Backbone) -> None:
    """A block is only added by the very weights and libraries that the campaign was made for."""
    expected = backbone.identity() | {
        "preprocessing": backbone.preprocessing(),
        "compiled": backbone.is_compiled,
        "versions": library_versions(),
    }
    found = differences(store.campaign(campaign).manifest, expected)
    if found:
        raise ManifestMismatch(f"{store.path}, {campaign}", found)
