"""CoOp's pickles are read, and nothing that a hostile one asks for is done.

Each hostile file is one that Python's own pickle would obey (it is tried, in a process of its own): it makes a marker.
"""

import pickle
import pickletools
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from coop import DASSL, Datum, dassl_is_there

from fdbpl.pipeline.datasets.coop_pickle import read_coop_pickle


@pytest.fixture(autouse=True)
def _dassl() -> Iterator[None]:
    with dassl_is_there():
        yield


TRAIN = [
    Datum("/data/caltech-101/101_ObjectCategories/Faces/image_0001.jpg", 0, 0, "face"),
    Datum("/data/caltech-101/101_ObjectCategories/Faces/ü 2.jpg", 0, 0, "face"),
    Datum("/data/caltech-101/101_ObjectCategories/ant/image_0001.jpg", 70_000, 0, "ant"),
]
FOUND = [(vars(datum)["_impath"], vars(datum)["_label"]) for datum in TRAIN]


def write(folder: Path, content: bytes) -> Path:
    path = folder / "shot_1-seed_1.pkl"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_what_coop_writes_is_read(protocol: int, tmp_path: Path) -> None:
    content = pickle.dumps({"train": TRAIN, "val": TRAIN[:1]}, protocol=protocol)
    assert read_coop_pickle(write(tmp_path, content)) == FOUND


def test_imagenet_has_no_val_list(tmp_path: Path) -> None:
    assert read_coop_pickle(write(tmp_path, pickle.dumps({"train": TRAIN}))) == FOUND


def test_thousands_of_entries_and_a_repeated_one(tmp_path: Path) -> None:
    many = [Datum(f"/d/{number}.jpg", number % 300) for number in range(3000)] + TRAIN[:1] * 2
    found = read_coop_pickle(write(tmp_path, pickle.dumps({"train": many})))
    assert len(found) == 3002
    assert found[2999] == ("/d/2999.jpg", 299)
    assert found[-1] == found[-2] == FOUND[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (["no dict"], "found no list 'train' in it"),
        ({"test": []}, "found no list 'train' in it"),
        ({"train": {}}, "found no list 'train' in it"),
        ({"train": ["/a.jpg"]}, r"train\[0\] is no Datum with a path and a whole number"),
        ({"train": [TRAIN[0], Datum("/a.jpg", "0")]}, r"train\[1\] is no Datum"),
        ({"train": [Datum("/a.jpg", True)]}, r"train\[0\] is no Datum"),
        ({"train": [Datum(None, 0)]}, r"train\[0\] is no Datum"),
        ({"train": [Datum("/a.jpg", 0.5)]}, "found the instruction BINFLOAT in it"),
        ({"train": {1: 2}}, "found entries that are set in no dict of strings"),
    ],
)
def test_other_content_is_refused(content: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"shot_1-seed_1\.pkl: {message}"):
        read_coop_pickle(write(tmp_path, pickle.dumps(content)))


def short(text: str) -> bytes:
    return b"\x8c" + struct.pack("<B", len(text.encode())) + text.encode()


MARK_IT = "open('marker','w').close()"
# What Python would run -> the file. Each leaves `marker` in the working folder.
HOSTILE: dict[str, tuple[bytes, str]] = {
    "reduce": (b"cos\nsystem\n(S'touch marker'\ntR.", "the global os.system"),
    "stack_global": (
        b"\x80\x04" + short("os") + short("system") + b"\x93" + short("touch marker") + b"\x85R.",
        "os.system",
    ),
    "memoized_names": (
        b"\x80\x04"
        + short("os")
        + b"\x94"
        + short("system")
        + b"\x940h\x00h\x010"
        + b"h\x00h\x01\x93"
        + short("touch marker")
        + b"\x85R.",
        "the instruction POP",
    ),
    "eval": (
        b"cbuiltins\neval\n" + b"(X" + struct.pack("<I", 26) + MARK_IT.encode() + b"tR.",
        "the global builtins.eval",
    ),
    "getattr": (
        b"\x80\x04"
        + short("builtins")
        + short("getattr")
        + b"\x93"
        + short("os")
        + short("system")
        + b"\x93"
        + short("__call__")
        + b"\x86R"
        + short("touch marker")
        + b"\x85R.",
        "the global builtins.getattr",
    ),
    "below_datum": (
        b"\x80\x04"
        + short(DASSL)
        + short("Datum.__init__.__globals__")
        + b"\x930"
        + b"cos\nsystem\n"
        + short("touch marker")
        + b"\x85R.",
        f"the global {DASSL}.Datum.__init__.__globals__",
    ),
    "reconstructor": (
        b"ccopyreg\n_reconstructor\n(cbuiltins\nobject\nc__builtin__\nobject\nNtR0cos\nsystem\n(S'touch marker'\ntR.",
        "the global copyreg._reconstructor",
    ),
    "inst": (b"(S'touch marker'\nios\nsystem\n.", "the instruction STRING"),
    "inst_at_once": (b"(" + short("touch marker") + b"ios\nsystem\n.", "the global os.system"),
    "obj": (b"(cos\nsystem\n" + short("touch marker") + b"o.", "the global os.system"),
    "newobj_ex": (
        b"\x80\x04cos\nsystem\n" + short("touch marker") + b"\x85R0}\x92.",
        "the global os.system",
    ),
    "reduce_of_datum": (b"\x80\x04c" + DASSL.encode() + b"\nDatum\n)R0cos\nsystem\n(S'touch marker'\ntR.", "REDUCE"),
    "extension": (b"\x80\x02\x82\x01.", "the instruction EXT1"),
    "persistent_id": (b"Pos.system\n.", "the instruction PERSID"),
    "binary_persistent_id": (b"\x80\x04" + short("os") + b"Q.", "the instruction BINPERSID"),
    "module_with_a_space": (b"cos system\nx\n.", "the global os.system x"),
    "class_as_a_list": (b"\x80\x04]" + short("system") + b"\x93.", "a global without a name"),
}
# These ask for a service that plain `pickle.loads` does not offer, or for a thing that is not there.
HARMLESS_HERE = {
    *("extension", "persistent_id", "binary_persistent_id", "module_with_a_space", "class_as_a_list", "below_datum"),
    "reduce_of_datum",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_and_not_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content, what = HOSTILE[name]
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path, content)
    before = set(sys.modules)
    with pytest.raises(ValueError, match=r"shot_1-seed_1\.pkl: found .*nothing of it was run") as refusal:
        read_coop_pickle(path)
    assert what in str(refusal.value)
    assert not (tmp_path / "marker").exists()
    assert set(sys.modules) == before, "nothing was imported"


@pytest.mark.parametrize("name", sorted(set(HOSTILE) - HARMLESS_HERE))
def test_pickle_itself_would_have_run_them(name: str, tmp_path: Path) -> None:
    program = "import pickle, sys\npickle.load(open(sys.argv[1], 'rb'))"
    path = write(tmp_path, HOSTILE[name][0])
    subprocess.run([sys.executable, "-c", program, str(path)], cwd=tmp_path, capture_output=True, check=False)
    assert (tmp_path / "marker").exists()


def test_protocols_that_call_for_copyreg_are_refused(tmp_path: Path) -> None:
    for protocol in (0, 1):
        content = pickle.dumps({"train": TRAIN}, protocol=protocol)
        with pytest.raises(ValueError, match=r"found the (global copy_reg\._reconstructor|instruction \w+) in it"):
            read_coop_pickle(write(tmp_path, content))


def test_a_huge_memo_costs_nothing(tmp_path: Path) -> None:
    """Python's own reader makes room for all numbers below the one that is named."""
    content = pickle.dumps({"train": TRAIN}, protocol=2).replace(b"\x80\x02}q\x00", b"\x80\x02}r\xff\xff\xff\x7f")
    assert b"r\xff\xff\xff\x7f" in content
    assert read_coop_pickle(write(tmp_path, content)) == FOUND


def test_a_length_that_lies_is_told(tmp_path: Path) -> None:
    huge = b"\x80\x04\x8d" + struct.pack("<Q", 1 << 40) + b"x."
    with pytest.raises(ValueError, match="is cut short or damaged: expected 1099511627776 bytes"):
        read_coop_pickle(write(tmp_path, huge))


def test_every_file_that_is_cut_short_is_told(tmp_path: Path) -> None:
    content = pickle.dumps({"train": TRAIN[:2]}, protocol=4)
    for length in range(len(content)):
        with pytest.raises(ValueError, match="is cut short or damaged"):
            read_coop_pickle(write(tmp_path, content[:length]))


def test_no_flipped_byte_makes_anything_but_a_subset_or_an_error(tmp_path: Path) -> None:
    content = pickle.dumps({"train": TRAIN}, protocol=4)
    kept = 0
    for place in range(len(content)):
        for change in (1, 0x80):
            damaged = bytearray(content)
            damaged[place] ^= change
            try:
                found = read_coop_pickle(write(tmp_path, bytes(damaged)))
            except ValueError:
                continue
            kept += 1
            assert all(type(image) is str and type(label) is int for image, label in found)
    assert 0 < kept < 2 * len(content)


@pytest.mark.parametrize(
    "content", [b".", b"]\x940.", b"}a.", b"\x80\x04]e.", b"h\x05.", b"b.", b"\x80\x04N\x81.", b"}}u."]
)
def test_programs_that_take_what_is_not_there_are_told(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"shot_1-seed_1\.pkl"):
        read_coop_pickle(write(tmp_path, content))


def test_a_state_is_given_to_a_datum_only(tmp_path: Path) -> None:
    of_the_class = b"\x80\x04" + short(DASSL) + short("Datum") + b"\x93}b."
    with pytest.raises(ValueError, match="found a state that is no Datum's in it"):
        read_coop_pickle(write(tmp_path, of_the_class))
    with_arguments = b"\x80\x04" + short(DASSL) + short("Datum") + b"\x93]\x81."
    with pytest.raises(ValueError, match="found an object that is made with arguments in it"):
        read_coop_pickle(write(tmp_path, with_arguments))


def test_each_hostile_file_is_a_pickle() -> None:
    """What is refused is refused for what it asks, not for being no pickle."""
    for name, (content, _) in HOSTILE.items():
        assert list(pickletools.genops(content)), name
