"""The manifest's fingerprint, and differences that name every field."""

from __future__ import annotations

import pickle

import pytest

from fdbpl.cache_layout.errors import ManifestMismatch
from fdbpl.cache_layout.manifest import ABSENT, Difference, Manifest, all_differences, differences

FIELDS = {"teacher": {"model": "ViT-H-14", "layers": [1, 2.5]}, "seeds": 8, "café": None, "flag": True}


def test_fingerprint_is_the_digest_of_the_canonical_json():
    import hashlib

    text = '{"café":null,"flag":true,"seeds":8,"teacher":{"layers":[1,2.5],"model":"ViT-H-14"}}'
    expected = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    assert Manifest(FIELDS).fingerprint == expected
    shuffled = {key: FIELDS[key] for key in ("flag", "café", "teacher", "seeds")}
    assert Manifest(shuffled).fingerprint == expected
    assert Manifest(FIELDS) == pickle.loads(pickle.dumps(Manifest(shuffled)))
    assert Manifest({**FIELDS, "seeds": 9}).fingerprint != expected


def test_manifest_is_a_copy():
    fields = {"a": [1, 2], "b": (3, 4)}
    manifest = Manifest(fields)
    fields["a"].append(3)
    assert manifest.fields == {"a": [1, 2], "b": [3, 4]}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"a": {1: 2}}, "manifest.a: found the key 1"),
        ({"a": [0, float("nan")]}, r"manifest.a\[1\]: found nan"),
        ({"a": float("inf")}, "manifest.a: found inf"),
        ({"a": {"b": {1, 2}}}, "manifest.a.b: found set"),
        ({"a": b"x"}, "manifest.a: found bytes"),
    ],
)
def test_what_json_cannot_hold_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Manifest(fields)


def test_differences_names_every_field_and_only_what_is_expected():
    expected = {"teacher": {"model": "ViT-B-32", "width": 7}, "seeds": 8.0, "flag": 1, "new": {"x": 1}}
    assert differences(Manifest(FIELDS), expected) == [
        Difference("teacher.model", "ViT-H-14", "ViT-B-32"),
        Difference("teacher.width", ABSENT, 7),
        Difference("flag", True, 1),
        Difference("new", ABSENT, {"x": 1}),
    ]
    assert differences(FIELDS, {"teacher": {"layers": (1.0, 2.5)}}) == []
    assert differences(FIELDS, {"teacher": "ViT-H-14"}) == [Difference("teacher", FIELDS["teacher"], "ViT-H-14")]


def test_all_differences_sees_what_nobody_asked_for():
    assert all_differences({"a": {"x": 1, "y": 2}}, {"a": {"x": 1}}) == [Difference("a.y", 2, ABSENT)]


def test_mismatch_says_found_expected_where_and_what_to_do():
    gaps = [Difference("teacher.model", "a", "b"), Difference("crops.size", ABSENT, 224)]
    error = pickle.loads(pickle.dumps(ManifestMismatch("/data/store", gaps)))
    assert error.differences == tuple(gaps)
    assert str(error) == (
        "the store at /data/store does not fit: 2 fields differ:\n"
        "  teacher.model: found 'a', expected 'b'\n"
        "  crops.size: found (absent), expected 224\n"
        "use the settings that the store was made with, or another store path for the new ones"
    )
