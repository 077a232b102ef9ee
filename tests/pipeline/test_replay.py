"""Which decoder cuts a store's windows again, and what is said where it is another than the teacher's."""

import logging
from collections.abc import Callable

import pytest

from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.labels import replay
from fdbpl.pipeline.labels.manifest import decoder_identity
from fdbpl.pipeline.labels.replay import replay_decoder
from fdbpl.pipeline.loading.decoder import Decoder, make_decoder


def test_the_stores_own_decoder_is_taken_and_nothing_is_said(
    make_config: Callable[..., RunConfig], caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("torchvision", "dali", "pillow"):
        stored = decoder_identity(make_decoder(name), "cpu")
        with caplog.at_level(logging.WARNING):
            assert replay_decoder(make_config(), stored, "cpu").name == name
    assert not caplog.records


def test_the_configs_decoder_is_taken_and_how_far_it_can_be_is_said(
    make_config: Callable[..., RunConfig], caplog: pytest.LogCaptureFixture
) -> None:
    config = make_config(loading={"decoder": "torchvision", "device": "cpu"})
    stored = {"name": "dali", "version": "2.4.0", "device": "cuda"}
    with caplog.at_level(logging.WARNING):
        assert replay_decoder(config, stored, "cpu").name == "torchvision"
    (said,) = caplog.messages
    assert "by torchvision" in said and "by dali 2.4.0 on cuda" in said
    assert "within 4 grey levels of Pillow's, and 0.3 on average" in said


def test_another_version_is_said_too(make_config: Callable[..., RunConfig], caplog: pytest.LogCaptureFixture) -> None:
    stored = {"name": "torchvision", "version": "0.1", "device": "cpu"}
    with caplog.at_level(logging.WARNING):
        replay_decoder(make_config(), stored, "cpu")
    assert len(caplog.messages) == 1 and "torchvision 0.1 on cpu" in caplog.messages[0]


def test_where_dali_is_missing_torchvision_cuts_unless_dali_was_asked_for(
    make_config: Callable[..., RunConfig], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def without_dali(name: str, device: str) -> Decoder:
        if name == "dali":
            raise ValueError("the dali decoder needs NVIDIA DALI, which is not installed here")
        return make_decoder(name, device)

    monkeypatch.setattr(replay, "kept_decoder", without_dali)
    stored = {"name": "dali", "version": "2.4.0", "device": "cuda"}
    with caplog.at_level(logging.WARNING):
        assert replay_decoder(make_config(), stored, "cpu").name == "torchvision"
    assert len(caplog.messages) == 1
    with pytest.raises(ValueError, match="not installed here"):
        replay_decoder(make_config(loading={"decoder": "dali", "device": "cpu"}), stored, "cpu")
