"""Labels over the names asked for: which source answers, what it says, and who is refused with which reason."""

import pickle

import numpy as np
import pytest
from store_example import arguments

from fdbpl.cache_layout.class_list import ClassList
from fdbpl.cache_layout.create import create_store
from fdbpl.cache_layout.encodings import EMBEDDING, LOGITS, TOPK, encode_embedding, encode_logits, encode_topk
from fdbpl.cache_layout.encodings import label_arrays as arrays_of
from fdbpl.cache_layout.manifest import Manifest
from fdbpl.cache_layout.reader import open_reader
from fdbpl.cache_layout.seal import seal
from fdbpl.cache_layout.soft_labels import NoSuchLabels, soft_labels
from fdbpl.cache_layout.writer import write_block

WIDTH, TOP_K, SCALE = 64, 4, 100.0
NAMES = tuple(f"class {number}" for number in range(12))
TEMPLATES = ("a photo of a {}.",)
VIEWS = [0, 3, 9, 9], [4, 0, 2, 2]


def unit(values):
    return (values / np.linalg.norm(values, axis=-1, keepdims=True)).astype(np.float32)


GENERATOR = np.random.default_rng(0)
TEXT = unit(GENERATOR.normal(size=(12, WIDTH)) + 3)
# Near to one text each: probabilities that are neither 0 nor 1.
IMAGES = unit(TEXT[np.arange(50) % 12] + unit(GENERATOR.normal(size=(50, WIDTH)))).reshape(10, 5, WIDTH)
EXACT = SCALE * (IMAGES.astype(np.float64) @ TEXT.T.astype(np.float64))


def class_list(name="all", names=NAMES, text=TEXT, templates=TEMPLATES):
    return ClassList(name=name, class_names=names, templates=templates, text_embedding_CD=text)


def probabilities(logits):
    exps = np.exp(logits - logits.max(axis=-1, keepdims=True), dtype=np.float64)
    return exps / exps.sum(axis=-1, keepdims=True)


def make_store(path, encodings, *, lists=None, top_k=TOP_K, manifest=None):
    """A sealed store with these encodings of EXACT, and an open reader of it."""
    specs = arrays_of(encodings, width=WIDTH, num_classes=12, top_k=top_k)
    flat = EXACT.reshape(50, 12).astype(np.float32)
    rows = {EMBEDDING: encode_embedding(IMAGES.reshape(50, WIDTH)), LOGITS: encode_logits(flat)}
    rows |= dict(zip(TOPK, encode_topk(flat, top_k), strict=True))
    store = create_store(
        path,
        **arguments(
            manifest=Manifest(manifest or {"teacher": {"logit_scale": SCALE}}),
            class_lists=[class_list()] if lists is None else lists,
            campaigns={"teacher": specs},
        ),
    )
    for block in store.blocks("teacher"):
        part = np.ix_(list(block.images), list(block.seeds))
        whole = {spec.name: rows[spec.name].reshape(10, 5, *spec.row_shape) for spec in specs}
        write_block(store, "teacher", block, {name: np.ascontiguousarray(array[part]) for name, array in whole.items()})
    seal(path)
    return open_reader(path)


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    reader = make_store(tmp_path_factory.mktemp("full") / "store", ["embedding", "logits", "topk"])
    with reader:
        yield reader


@pytest.mark.parametrize("names", [NAMES, NAMES[:5], NAMES[::-1], (NAMES[7], NAMES[2])], ids=len)
@pytest.mark.parametrize("source", ["logits", "embedding"])
def test_labels_over_the_names_in_their_order(full, names, source):
    labels = soft_labels(full, names, templates=list(TEMPLATES), source=source)
    columns = [NAMES.index(name) for name in names]
    exact = EXACT[tuple(VIEWS)]
    logits = labels.read(*VIEWS)
    assert (logits.shape, logits.dtype, logits.flags.c_contiguous) == ((4, len(names)), np.float32, True)
    distance = (exact.max(axis=1) - exact[:, columns].max(axis=1)).max()
    error = np.abs(probabilities(logits) - probabilities(exact[:, columns])).max()
    assert 0 < error <= labels.bound.at(distance)
    assert labels.num_classes == len(names)
    assert f"teacher/{source}" in labels.source


@pytest.mark.parametrize("names", [NAMES, NAMES[::-1]], ids=["as stored", "reversed"])
def test_topk_answers_for_all_names(full, names):
    labels = soft_labels(full, names, source="topk")
    columns = [NAMES.index(name) for name in names]
    exact = probabilities(EXACT[tuple(VIEWS)])[:, columns]
    found = probabilities(labels.read(*VIEWS))
    kept = np.argsort(exact, axis=1)[:, -TOP_K:]
    others = np.argsort(exact, axis=1)[:, :-TOP_K]
    error = np.abs(np.take_along_axis(found - exact, kept, axis=1)).max()
    assert 0 < error <= labels.bound.probability
    spread = np.take_along_axis(found, others, axis=1)
    np.testing.assert_allclose(spread, spread[:, :1].repeat(12 - TOP_K, axis=1), rtol=1e-6)
    assert spread.sum(axis=1) == pytest.approx(np.take_along_axis(exact, others, axis=1).sum(axis=1), rel=2e-3)
    assert "spread evenly" in labels.source


def test_the_first_source_that_can_answer_is_taken_and_says_why(tmp_path, full):
    assert soft_labels(full, NAMES[:3]).source == "teacher/logits: the first 3 of the 12 columns of class list 'all'"
    assert soft_labels(full, NAMES[:3]).arrays == ("teacher/logits",)
    extended = (*NAMES[:3], "unicorn")
    lists = [class_list(), class_list("zoo", extended, unit(TEXT[:4] + 0.01))]
    with make_store(tmp_path / "store", ["embedding", "logits", "topk"], lists=lists) as reader:
        labels = soft_labels(reader, extended)
        assert labels.source == (
            "teacher/embedding with the text embedding of class list 'zoo'; "
            "not teacher/logits: class list 'all' lacks 1 of them: 'unicorn'"
        )
        expected = SCALE * IMAGES[VIEWS[0], VIEWS[1]] @ lists[1].text_embedding_CD.T
        np.testing.assert_allclose(labels.read(*VIEWS), expected, atol=0.06)
        assert soft_labels(reader, NAMES).arrays == (LOGITS,)
        assert "class list 'all'" in soft_labels(reader, NAMES[:3], source="embedding").source, "the store's own first"
    with make_store(tmp_path / "sparse", ["topk"], top_k=12) as reader:
        labels = soft_labels(reader, NAMES)
        assert labels.arrays == TOPK
        assert "not teacher/embedding: not in the store" in labels.source
        assert np.array_equal(labels.read(*VIEWS), soft_labels(full, NAMES, source="logits").read(*VIEWS))


def test_columns_may_be_those_of_another_list(tmp_path):
    with make_store(tmp_path / "store", ["logits"], lists=[class_list("base")]) as reader:
        assert soft_labels(reader, NAMES[:2], columns="base").num_classes == 2
        with pytest.raises(NoSuchLabels, match="its columns are those of class list 'all', which is not there"):
            soft_labels(reader, NAMES[:2])


def test_unknown_names_are_named_with_what_is_held(full):
    strangers = tuple(f"stranger {number}" for number in range(7))
    with pytest.raises(NoSuchLabels) as caught:
        soft_labels(full, (*NAMES[:2], *strangers))
    assert caught.value.missing == strangers
    text = str(caught.value)
    assert "no labels over the 9 classes asked for" in text
    assert "class list 'all' lacks 7 of them: 'stranger 0', 'stranger 1', 'stranger 2'" in text
    assert "'stranger 4' …" in text
    assert "stranger 5" not in text
    assert "it holds teacher/embedding, teacher/logits, " in text
    assert "'all' (12: 'class 0', 'class 1', 'class 2' …)" in text
    assert "`fdbpl teach CONFIG`" in text
    assert str(pickle.loads(pickle.dumps(caught.value))) == text


def test_a_part_of_the_classes_is_refused_from_topk(tmp_path):
    with (
        make_store(tmp_path / "store", ["topk"]) as reader,
        pytest.raises(NoSuchLabels, match=r"found 3 of the 12 names .* expected all .* need not include those asked"),
    ):
        soft_labels(reader, NAMES[:3])


@pytest.mark.parametrize("source", ["logits", "embedding", "topk"])
def test_other_templates_are_refused(full, source):
    message = r"teacher/.*made with other templates: found \['a photo of a \{\}.'\], expected \['a sketch of \{\}.'\]"
    with pytest.raises(NoSuchLabels, match=message) as caught:
        soft_labels(full, NAMES, templates=["a sketch of {}."], source=source)
    assert caught.value.missing == ()


def test_an_embedding_needs_scale_and_width(tmp_path):
    reader = make_store(tmp_path / "a", ["embedding"], manifest={"teacher": {"model": "x"}})
    with pytest.raises(NoSuchLabels, match=r"does not state teacher\.logit_scale"):
        soft_labels(reader, NAMES)
    narrow = class_list(text=unit(TEXT[:, :8]))
    reader = make_store(tmp_path / "b", ["embedding"], lists=[narrow])
    with pytest.raises(NoSuchLabels, match="has width 8, expected 64"):
        soft_labels(reader, NAMES)
    reader = make_store(tmp_path / "c", ["embedding"], lists=[])
    with pytest.raises(NoSuchLabels, match="has no class list") as caught:
        soft_labels(reader, NAMES)
    assert "class lists: none" in str(caught.value)


def test_texts_longer_than_one_widen_the_bound(tmp_path):
    with make_store(tmp_path / "store", ["embedding"], lists=[class_list(text=2 * TEXT)]) as reader:
        assert soft_labels(reader, NAMES).bound.probability == pytest.approx(0.0498, abs=1e-3)
        assert soft_labels(reader, NAMES).read(*VIEWS).max() > SCALE


def test_wrong_arguments(full):
    with pytest.raises(ValueError, match="class_names: found none"):
        soft_labels(full, [])
    with pytest.raises(ValueError, match=r"found \['class 1'\] more than once"):
        soft_labels(full, [NAMES[1], NAMES[0], NAMES[1]])
    with pytest.raises(ValueError, match="found 'dense', expected one of logits, embedding, topk"):
        soft_labels(full, NAMES, source="dense")


@pytest.mark.parametrize("source", ["logits", "embedding", "topk"])
def test_labels_cross_processes(full, source):
    labels = soft_labels(full, NAMES, source=source)
    copied = pickle.loads(pickle.dumps(labels))
    assert np.array_equal(copied.read(*VIEWS), labels.read(*VIEWS))
    assert (copied.source, copied.bound) == (labels.source, labels.bound)


def test_no_view_gives_no_row(full):
    for source in ("logits", "embedding", "topk"):
        assert soft_labels(full, NAMES, source=source).read([], []).shape == (0, 12)
