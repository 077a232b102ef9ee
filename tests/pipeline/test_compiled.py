"""Passes whose encoders run through torch.compile: the same rows up to rounding, and a manifest that says so."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from fdbpl.cache_layout.errors import ManifestMismatch
from fdbpl.cache_layout.reader import open_reader
from fdbpl.cache_layout.store import open_store
from fdbpl.pipeline.clip.backbone import forget_backbones, load_backbone
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.labels.manifest import CAMPAIGN
from fdbpl.pipeline.labels.teach import prepare_store, teach_block

COMPILED = {"device": "cpu", "batch_size": 16, "compile": True}


@pytest.fixture
def compiled_calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """torch.compile with its own tracing, and without a C++ compiler, which not every machine has."""
    calls: list[dict[str, Any]] = []
    compile_ = torch.compile

    def traced(function: Callable[..., Any], **options: Any) -> Any:
        calls.append(options)
        return compile_(function, backend="aot_eager", **options)

    monkeypatch.setattr(torch, "compile", traced)
    forget_backbones()
    return calls


# torch's own tracing warns of its parts.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_a_compiled_pass_gives_the_same_rows_and_says_what_it_is(
    make_config: Callable[..., RunConfig], taught: RunConfig, compiled_calls: list[dict[str, Any]]
) -> None:
    config = make_config(loading=COMPILED)
    store = prepare_store(config)
    assert compiled_calls == [], "nothing is compiled before it runs"
    first = store.missing_blocks(CAMPAIGN)[0]
    teach_block(config, first.id, lambda done, total: None)
    assert compiled_calls == [{"dynamic": False}], "once, for the one shape that all batches have"
    assert open_store(config.store.path).manifest.fields["compiled"] is True
    images, seeds = np.repeat(list(first.images), len(first.seeds)), np.tile(list(first.seeds), len(first.images))
    with open_reader(config.store.path, allow_unsealed=True) as mine, open_reader(taught.store.path) as theirs:
        assert theirs.manifest.fields["compiled"] is False
        rows = mine.read("teacher/embedding", images, seeds)
        np.testing.assert_allclose(rows, theirs.read("teacher/embedding", images, seeds), atol=1e-3)


def test_an_unfinished_store_is_gone_on_with_as_it_was_begun(make_config: Callable[..., RunConfig]) -> None:
    prepare_store(make_config())
    with pytest.raises(ManifestMismatch, match="compiled"):
        prepare_store(make_config(loading=COMPILED))


def test_the_plain_model_is_not_touched_by_a_compiled_one(taught: RunConfig) -> None:
    plain = load_backbone(taught.teacher)
    compiled = load_backbone(taught.teacher, compiled=True)
    assert (plain.is_compiled, compiled.is_compiled) == (False, True)
    assert compiled.module is plain.module and load_backbone(taught.teacher, compiled=True) is compiled
