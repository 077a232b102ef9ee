"""How fast the teacher labels crops on this machine, measured on a few of the run's own images."""

import time

import numpy as np

from fdbpl.pipeline.clip.backbone import load_backbone
from fdbpl.pipeline.clip.zero_shot import text_classifier
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.data.load import load_data
from fdbpl.pipeline.datasets.scan import scan_images
from fdbpl.pipeline.device import choose_device, decoder_name
from fdbpl.pipeline.labels.teach import TeacherLabels
from fdbpl.pipeline.loading.decoder import make_decoder
from fdbpl.pipeline.loading.windows import ComputedWindows, Pixels

SECONDS = 5.0


def measured_rates(config: RunConfig, seconds: float = SECONDS) -> dict[str, tuple[float, str]]:
    """Views a second of the teacher pass: decoding, cutting and labelling, after a first batch that is not counted.

    Returns:
        {"teach": (rate, how it is known)}.

    Raises:
        ValueError: images or a model that cannot be used.
    """
    data = load_data(config.data)
    device = choose_device(config.loading.device)
    teacher = load_backbone(config.teacher, device)
    classifier_CD = text_classifier(teacher, data.class_names, config.teacher.templates).cpu().numpy()
    encode = TeacherLabels(teacher, classifier_CD, config.store.labels, config.store.top_k)
    num_seeds = min(config.crops.seeds, config.store.seeds_per_block)
    num_images = min(len(data.train), max(1, config.loading.batch_size // num_seeds))
    paths, labels = data.train.paths[:num_images], data.train.labels[:num_images]
    images = scan_images(data.root, paths, labels, digests=False, bad_images=config.data.bad_images)
    num_images = len(images)
    windows = ComputedWindows(config.crops.policy(teacher.image_size), images)
    pixels = Pixels(make_decoder(decoder_name(config), device=device), data.root, images, windows)
    views = np.repeat(np.arange(num_images), num_seeds), np.tile(np.arange(num_seeds), num_images)

    def label() -> int:
        pixels_B = pixels(*views, teacher.image_size)
        encode(pixels_B)()  # its numbers arrive on the CPU, so the device has done its work
        return len(pixels_B)

    label()
    started = time.monotonic()
    done = label()
    while time.monotonic() - started < seconds:
        done += label()
    return {"teach": (done / (time.monotonic() - started), f"measured here on {done} views, {device}")}
