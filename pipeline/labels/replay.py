"""The decoder that cuts a store's windows again, for students and feature passes."""

import logging
from collections.abc import Mapping

from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.labels.manifest import decoder_identity
from fdbpl.pipeline.loading.decoder import LARGEST_DIFFERENCE, MEAN_DIFFERENCE, Decoder, kept_decoder

logger = logging.getLogger(__name__)


def replay_decoder(config: RunConfig, stored: Mapping[str, str], device: str) -> Decoder:
    """The decoder of a store, or the one that the config names; where it is not what cut the teacher's crops, that is
    said, with how far its pixels can be from theirs.

    Args:
        stored: `decoder` of the store's manifest: name, version, device.
        device: where the crops are to be.

    Raises:
        ValueError: the decoder that the config names is not installed.
    """
    asked = config.loading.decoder
    try:
        decoder = kept_decoder(stored["name"] if asked == "auto" else asked, device)
    except ValueError:
        if asked != "auto":
            raise
        decoder = kept_decoder("torchvision", device)  # DALI is not on every machine
    here = decoder_identity(decoder, device)
    if here != dict(stored):
        logger.warning(
            "crops are cut again by %s, the teacher's were by %s: each is held to be within %d grey levels of "
            "Pillow's, and %s on average over a crop; the windows are the same",
            _in_words(here),
            _in_words(stored),
            LARGEST_DIFFERENCE,
            MEAN_DIFFERENCE,
        )
    return decoder


def _in_words(identity: Mapping[str, str]) -> str:
    return f"{identity['name']} {identity['version']} on {identity['device']}"
