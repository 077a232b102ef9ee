"""What is known of the files of a store that are no shards, as a check goes through them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from fdbpl.cache_layout.campaigns import Campaign
from fdbpl.cache_layout.documents import METADATA, document_bytes, group_document, read_document
from fdbpl.cache_layout.errors import CacheError, DamagedFile, MissingBlocks
from fdbpl.cache_layout.findings import METADATA as KIND
from fdbpl.cache_layout.findings import Finding
from fdbpl.cache_layout.store import Store

_GROUP = document_bytes(group_document())


@dataclass(kw_only=True)
class StoreFiles:
    """What is known of the files of a store that are no shards.

    `files` holds every file that belongs, `regenerable` the right bytes of those that may be written anew where
    they are not right, `folders` those whose content cannot be judged. `campaigns` are the ones that could be
    read, `lost_campaigns` the others.
    Where not even one array has the root's blocks, `blocks_are_right` is false, and no shard can be judged.
    """

    store: Store
    files: set[str] = field(default_factory=set)
    folders: set[str] = field(default_factory=set)
    regenerable: dict[str, bytes] = field(default_factory=dict)
    campaigns: dict[str, Campaign] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    blocks_are_right: bool = True
    lost_campaigns: list[str] = field(default_factory=list)

    def find(self, file: str, what: str) -> None:
        self.findings.append(Finding(kind=KIND, file=file, what=what))

    def expect(self, file: str, content: bytes, *, regenerable: bool = False) -> None:
        """A file that must hold `content`."""
        if file in self.files:
            return
        self.files.add(file)
        if regenerable:
            self.regenerable[file] = content
        problem = problem_of(self.store.path / file, content)
        if problem:
            self.find(file, problem)

    def expect_group(self, folder: str) -> None:
        """A group without attributes."""
        if self.store.version == 1:
            self._expect_legacy_group(folder)
        else:
            self.expect(f"{folder}/{METADATA}", _GROUP, regenerable=True)

    def _expect_legacy_group(self, folder: str) -> None:
        self.files.add(f"{folder}/{METADATA}")
        try:
            found = read_document(self.store.path / folder)
        except (OSError, CacheError) as error:
            self.find(f"{folder}/{METADATA}", text_of(error))
            return
        if found.get("node_type") != "group" or found.get("zarr_format") != 3:
            self.find(f"{folder}/{METADATA}", "found no group of Zarr format 3")


def text_of(error: Exception) -> str:
    """An error's message in one line, without advice that is not for who checks a store."""
    if isinstance(error, DamagedFile):
        return "; ".join(error.problems)
    if isinstance(error, MissingBlocks):
        return "; ".join(error.missing)
    if isinstance(error, OSError):
        return f"cannot be read: {error.strerror or error}"
    return " ".join(str(error).split())


def problem_of(path: Path, content: bytes) -> str:
    """What is wrong with a file that must hold `content`; empty where nothing is."""
    try:
        found = path.read_bytes()
    except FileNotFoundError:
        return "the file is missing"
    except OSError as error:
        return text_of(error)
    if found == content:
        return ""
    same = next((at for at, (left, right) in enumerate(zip(found, content, strict=False)) if left != right), None)
    if same is None:
        return f"found {len(found)} bytes, expected {len(content)}"
    left, right = found[same : same + 20], content[same : same + 20]
    return f"found {left!r} at byte {same}, expected {right!r}, which its values give"
