"""What is wrong with a data set on the disk, told part by part, with where each part is usually had from.

Names of files are compared with the lists; no image is opened, for that is the scan's work. Costs a listing of the
folders that the lists name.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fdbpl.pipeline.config import DataConfig
from fdbpl.pipeline.data.defaults import with_defaults
from fdbpl.pipeline.data.load import load_data
from fdbpl.pipeline.datasets.catalog import COOP_PAGE, KNOWN, KnownDataSet
from fdbpl.pipeline.datasets.data_set import DataSet
from fdbpl.pipeline.datasets.few_shot import base_and_new
from fdbpl.pipeline.datasets.folders import some
from fdbpl.pipeline.datasets.layouts import IMAGE_FOLDER, Reader, reader_of
from fdbpl.pipeline.shards.files import file_facts, lacking

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong: the part, what is wrong with it, and where it is usually had from ("" where unknown)."""

    part: str
    problem: str
    source: str = ""


@dataclass(frozen=True, kw_only=True)
class Count:
    """A number that was counted (None: could not be), and the one that is known of the data set (None: none is)."""

    found: int | None
    expected: int | None


@dataclass(frozen=True, kw_only=True)
class DataCheck:
    """A data set as it was found.

    Attributes:
        counts: by what is counted: classes, train, val, test, and the test images of both halves where they are known.
        left_out: files beside the images in the class folders, which are no images by their names.
    """

    name: str
    config: DataConfig
    findings: tuple[Finding, ...]
    counts: dict[str, Count]
    left_out: tuple[str, ...] = ()


def check_data(section: DataConfig) -> DataCheck:
    """Look at everything that a data section names.

    Raises:
        ValueError: a section that makes no sense by itself; all that is wrong on the disk is a finding.
    """
    config = with_defaults(section)
    known, reader = KNOWN.get(config.layout), reader_of(config.layout)
    findings = _missing_parts(config, reader, known)
    data: DataSet | None = None
    left_out: tuple[str, ...] = ()
    if not findings:
        try:
            data = load_data(config)
        except ValueError as error:
            findings.append(Finding(part="content", problem=str(error), source=_source(known)))
    if data is not None:
        if reader.lists_folders:
            left_out = _other_files(data)
        else:
            findings += _missing_images(data, known)
    counts = _counts(data, known)
    wrong = {what: count for what, count in counts.items() if count.expected is not None and data is not None}
    findings += [
        Finding(
            part=what,
            problem=f"found {count.found:,}, expected {count.expected:,}",
            source=_source(known, of_list=not reader.lists_folders),
        )
        for what, count in wrong.items()
        if count.found != count.expected
    ]
    return DataCheck(name=config.name, config=config, findings=tuple(findings), counts=counts, left_out=left_out)


def _missing_parts(config: DataConfig, reader: Reader, known: KnownDataSet | None) -> list[Finding]:
    """Parts that are not there; of parts within one that is missing, nothing is said."""
    if not config.folder.is_dir():
        problem = f"there is no folder {config.folder}"
        return [Finding(part="folder", problem=problem, source=_source(known))]
    places = {"images": config.images, "split": config.split}
    findings = []
    for part, pattern in {IMAGE_FOLDER: "{images}", **reader.folders}.items():
        if reason := lacking(config.folder / pattern.format(**places)):
            findings.append(Finding(part=part, problem=reason, source=_source(known)))
            if part == IMAGE_FOLDER:
                break
    for part, pattern in reader.files.items():
        path = config.folder / pattern.format(**places)
        if not path.is_file():
            source = _source(known, of_list=True)
            findings.append(Finding(part=part, problem=f"there is no file {path}", source=source))
    return findings


def _source(known: KnownDataSet | None, *, of_list: bool = False) -> str:
    """Where the images, or the file that tells of them, are usually had from. FGVCAircraft brings its own lists."""
    if known is None:
        return ""
    return f"{COOP_PAGE}: {known.split}" if of_list and known.reader != "fgvc" else known.source


def _missing_images(data: DataSet, known: KnownDataSet | None) -> list[Finding]:
    """Files that the lists name and that are not there: folders that have none of theirs, and the others by split."""
    named: dict[str, set[str]] = {}
    for split in SPLITS:
        for path in getattr(data, split).paths:
            named.setdefault(str(PurePosixPath(path).parent), set()).add(path)
    missing = {folder: _not_there(data.root, folder, paths) for folder, paths in named.items()}
    source = _source(known)
    empty = sorted(folder for folder, paths in missing.items() if paths == named[folder] and folder != ".")
    findings = []
    if empty:
        shown = some([f"{folder} ({len(named[folder])} images)" for folder in empty])
        findings.append(Finding(part="class folders", problem=f"{len(empty)} missing or empty: {shown}", source=source))
    gone = {path for folder, paths in missing.items() if folder not in empty for path in paths}
    for split in SPLITS:
        paths = getattr(data, split).paths
        own = [path for path in paths if path in gone]
        if own:
            problem = f"{len(own)} of {len(paths)} images are not there: {some(own)}"
            findings.append(Finding(part=f"{split} images", problem=problem, source=source))
    return findings


def _not_there(root: Path, folder: str, paths: Iterable[str]) -> set[str]:
    if not root.is_dir():
        return {path for path in paths if not _is_member(root / path)}
    try:
        with os.scandir(root / folder) as found:
            names = {entry.name for entry in found if entry.is_file()}
    except OSError:
        names = set()
    return {path for path in paths if PurePosixPath(path).name not in names}


def _is_member(path: Path) -> bool:
    try:
        file_facts(path)
    except OSError:
        return False
    return True


def _other_files(data: DataSet) -> tuple[str, ...]:
    """Files within class folders that are no images of the data set, and not hidden."""
    images = {path for split in SPLITS for path in getattr(data, split).paths}
    folders = dict.fromkeys(str(PurePosixPath(path).parent) for path in images)
    others = []
    for folder in folders:
        with os.scandir(data.root / folder) as found:
            names = [entry.name for entry in found if not entry.name.startswith(".")]
        others += [path for path in (f"{folder}/{name}" for name in names) if path not in images]
    return tuple(sorted(others))


def _counts(data: DataSet | None, known: KnownDataSet | None) -> dict[str, Count]:
    expected: dict[str, int] = {}
    if known is not None:
        expected = {
            "classes": known.num_classes,
            "train": known.num_train,
            "val": known.num_val,
            "test": known.num_test,
        }
        if known.num_base_test is not None:
            expected |= {"test, base": known.num_base_test, "test, new": known.num_test - known.num_base_test}
    found: dict[str, int] = {}
    if data is not None:
        found = {"classes": len(data.class_names), **{split: len(getattr(data, split)) for split in SPLITS}}
        if "test, base" in expected and len(data.class_names) > 1:
            base, _ = base_and_new(len(data.class_names))
            found["test, base"] = sum(label in base for label in data.test.labels)
            found["test, new"] = len(data.test) - found["test, base"]
    names = dict.fromkeys(["classes", *SPLITS, *expected])
    return {name: Count(found=found.get(name), expected=expected.get(name)) for name in names}
