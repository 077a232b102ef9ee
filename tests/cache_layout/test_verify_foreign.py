"""Values and records that another writer might leave: sound by every checksum, and still wrong."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
from small_store import build
from verify_example import forge, forge_file, found, one

from fdbpl.cache_layout import verify_shard
from fdbpl.cache_layout.array_spec import ArraySpec
from fdbpl.cache_layout.campaigns import save_campaign, seal_digest
from fdbpl.cache_layout.errors import DamagedFile
from fdbpl.cache_layout.flat_array import put_flat
from fdbpl.cache_layout.records import RecordTable, columns_digest
from fdbpl.cache_layout.seal import _closed
from fdbpl.cache_layout.shard import crc32c
from fdbpl.cache_layout.store import open_store
from fdbpl.cache_layout.verify import verify
from fdbpl.cache_layout.verify_values import bad_rows, norm_tolerance, row_check


@pytest.mark.parametrize(
    ("entry", "says"),
    [([0, 36], "lie over one another"), ([2**64 - 1] * 2, "lacks a plane"), ([0, 35], "that is not a plane")],
)
def test_an_index_of_a_foreign_writer_that_does_not_fit(sealed, entry, says):
    """The second plane, of 4 rows of 8 bytes and a checksum, has another entry than ours."""
    forge_file(sealed, "crop/flip", lambda data: None)
    assert found(sealed) == []

    def change(data):
        index = np.frombuffer(data[-36:-4], "<u8").copy()
        index[2:] = np.array(entry, "<u8") if entry[0] else [index[0], index[1] - (36 - entry[1])]
        data[-36:] = index.tobytes() + crc32c(index.tobytes())

    forge_file(sealed, "crop/flip", change)
    finding = one(sealed)
    assert (finding.kind, finding.file, finding.views) == ("damaged", "crop/flip/c.0.0", 8)
    assert "its bytes are the recorded ones" in finding.what and says in finding.what


def test_nan_of_a_foreign_writer(sealed):
    def change(values):
        values[3 * 1 + 2] = np.nan

    forge(sealed, "teacher/logits", change)
    finding = one(sealed)
    assert (finding.kind, finding.file, finding.views, finding.seeds) == (
        "not_finite",
        "teacher/logits/c.0.0.0",
        1,
        (0,),
    )
    assert finding.images == (1, 1) and finding.paths == ("class é/1.jpg",)


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, -np.nan])
def test_infinity_in_an_embedding(tmp_path, value):
    path = build(tmp_path / "store", grown=False)

    def change(values):
        values[1] = value

    forge(path, "s/embedding", change)
    for unit_norm in (True, False):
        finding = one(path, unit_norm=unit_norm)
        assert (finding.kind, finding.file, finding.images) == ("not_finite", "s/embedding/c.0.0.0", (0, 0))


def test_an_embedding_that_is_not_unit(tmp_path):
    path = build(tmp_path / "store", grown=False)

    def change(values):
        values[2:4] *= np.float16(1.01)

    forge(path, "s/embedding", change)
    finding = one(path, unit_norm=True)
    assert (finding.kind, finding.file, finding.images, finding.views) == ("not_unit", "s/embedding/c.0.0.0", (1, 1), 1)
    assert verify(path, unit_norm=False).is_sound


def test_a_record_with_another_plane_checksum(sealed):
    store = open_store(sealed)
    campaign = store.campaign("teacher")
    table = store.records(campaign)
    table.crc_GJAP[1, 1, 0, 1] += 1
    shutil.rmtree(sealed / f"records/teacher/{campaign.seals[0].table}")
    save_campaign(sealed, _closed(store, replace(campaign, seals=()), table))
    finding = one(sealed)
    assert (finding.kind, finding.file, finding.seeds) == ("damaged", "crop/box/c.1.1.0", (3,))


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("width", [2, 7, 1024])
def test_rounded_unit_rows_pass_and_others_do_not(dtype, width):
    spec = ArraySpec(name="x/embedding", row_shape=(width,), dtype=dtype)
    rows_RD = np.random.default_rng(0).normal(size=(200, width)) ** 5  # among them subnormal numbers
    rows_RD /= np.linalg.norm(rows_RD, axis=1, keepdims=True)
    check = row_check(spec, unit_norm=True)
    good = rows_RD.astype(dtype)
    assert check(good.reshape(-1).view(np.uint8))
    assert not len(bad_rows(good.reshape(-1).view(np.uint8), spec, unit_norm=True)["not_unit"])
    for factor in (1 - 3 * norm_tolerance(spec), 1 + 3 * norm_tolerance(spec), 0.0):
        bad = rows_RD.copy()
        bad[137] *= factor
        raw = bad.astype(dtype).reshape(-1).view(np.uint8)
        assert not check(raw)
        assert bad_rows(raw, spec, unit_norm=True)["not_unit"].tolist() == [137]


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_every_kind_of_number_is_told_finite_or_not(dtype):
    spec = ArraySpec(name="x/logits", row_shape=(), dtype=dtype)
    check = row_check(spec, unit_norm=True)
    kind = np.finfo(dtype)
    for value in (0.0, -0.0, kind.max, kind.min, kind.smallest_subnormal, -kind.smallest_subnormal, -1.0):
        assert check(np.array([1.0, value], dtype).view(np.uint8)), value
    for value in (np.inf, -np.inf, np.nan, -np.nan):
        assert not check(np.array([1.0, value], dtype).view(np.uint8)), value


def test_large_files_are_read_in_pieces(tmp_path, monkeypatch):
    """Pieces much smaller than a plane, and rows that do not divide them."""
    path = build(tmp_path / "store")
    for piece_bytes in (1, 3, 4, 5, 64):
        monkeypatch.setattr(verify_shard, "PIECE_BYTES", piece_bytes)
        assert verify(path).findings == ()


def test_a_table_of_another_campaign_is_refused(tmp_path):
    """A table whose digest a seal vouches for, with other shapes than the campaign has blocks and arrays."""
    path = build(tmp_path / "store", grown=False)
    store = open_store(path)
    campaign = store.campaign("s")
    columns = RecordTable.empty(campaign.grid, ["a", "b"]).columns(campaign.grid.places())
    table = path / "records/s" / campaign.seals[0].table
    for name, values in columns.items():
        put_flat(table / name, values)
    entry = replace(campaign.seals[0], table_digest=columns_digest(columns))
    entry = replace(entry, digest=seal_digest(store.manifest.fingerprint, campaign, entry, None))
    save_campaign(path, replace(campaign, seals=(entry,)))
    with pytest.raises(DamagedFile, match="found shapes"):
        open_store(path).records("s")
    assert found(path)[0][0] == "metadata"
