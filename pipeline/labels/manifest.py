"""What a store's manifest says, and what of it a run can expect without running its teacher.

The whole manifest is known where labels are made. A student states the part that follows from its config and
the data set's lists; it needs neither the teacher, nor the images, nor torch for that.
"""

from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from fdbpl.cache_layout.encodings import ENCODINGS
from fdbpl.cache_layout.images import ImageIndex
from fdbpl.cache_layout.label_sources import COLUMNS
from fdbpl.cache_layout.manifest import Manifest, canonical_json, digest_of
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.data.labelled import labelled
from fdbpl.pipeline.datasets.data_set import DataSet
from fdbpl.pipeline.device import planned_device
from fdbpl.pipeline.weights import weights_source

if TYPE_CHECKING:
    from fdbpl.pipeline.clip.backbone import Backbone
    from fdbpl.pipeline.loading.decoder import Decoder

CAMPAIGN = "teacher"
CLASS_LIST = COLUMNS


def expected_fields(config: RunConfig) -> dict[str, Any]:
    """What a run expects of its store: teacher, crops and prompt templates. Its own images and class names it finds
    in the store, so that one of more images and classes fits too."""
    crops = config.crops.policy(1).to_json()
    del crops["size"]  # the teacher's, which is not known without loading it; it moves no window
    return {
        "teacher": {
            "model": config.teacher.model,
            "source": weights_source(config.teacher.pretrained),
            "precision": config.teacher.precision,
        },
        "crops": crops,
        "classes": {CLASS_LIST: {"templates": list(config.teacher.templates)}},
    }


def full_manifest(
    config: RunConfig, data: DataSet, *, teacher: "Backbone", decoder: "Decoder", images: ImageIndex
) -> Manifest:
    """Everything that changes a label; its hash is the store's fingerprint."""
    stated = expected_fields(config)
    return Manifest(
        fields={
            "teacher": stated["teacher"] | teacher.identity(),
            "preprocessing": teacher.preprocessing(),
            "decoder": decoder_identity(decoder, planned_device(config)),
            "crops": stated["crops"] | {"size": teacher.image_size},
            # Those that the store was made with; what is added later is vouched for by its seal.
            "images": {
                "list": labelled(config, data).digest,
                "content": images.digest,
                "file_digests": "sha256" if config.data.digests else "skipped",
            },
            "classes": {CLASS_LIST: stated["classes"][CLASS_LIST] | {"names": names_digest(data.class_names)}},
            "logits": "scale * cosine, less the largest of the view",
            "labels": encodings_written(config),
            "batch_size": config.loading.batch_size,
            "compiled": config.loading.compile,
            "versions": library_versions(),
        }
    )


def encodings_written(config: RunConfig) -> dict[str, Any]:
    """Which encodings of the labels a store gets. A student does not care, as long as one of them can answer; whoever
    goes on with an unfinished store does."""
    store = config.store
    return {
        "encodings": [name for name in ENCODINGS if name in store.labels],
        "top_k": store.top_k if "topk" in store.labels else None,
    }


def decoder_identity(decoder: "Decoder", device: str) -> dict[str, str]:
    """What cuts the pixels, and where: a GPU rounds otherwise. Pillow cuts on the CPU wherever it delivers to."""
    return {"name": decoder.name, "version": decoder.version, "device": cutting_device(decoder.name, device)}


def cutting_device(decoder: str, device: str) -> str:
    """Where a decoder that delivers to `device` makes its cuts."""
    return "cpu" if decoder == "pillow" else device


def library_versions() -> Mapping[str, str]:
    """Versions that may change a label's last bits."""
    return {name: version(name) for name in ("torch", "open_clip_torch", "fdbpl")}


def names_digest(class_names: tuple[str, ...]) -> str:
    return digest_of(canonical_json(list(class_names)).encode())
