"""What an interrupted check has found good, so that the next one need not read it again.

One line of JSON for each file, appended as files are done: `<store>.verify.jsonl` beside the store. A line counts
only while the file's size, time, inode and recorded sha256 are those of the line. The file is removed when a check
is complete. Where it cannot be written, the check goes on without.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from fdbpl.cache_layout.verify_shard import Shard


class VerifyState:
    """The files that were found good; a context, so that the file is closed. Not for several threads.

    Args:
        path: of the state file; None to keep none.
        fresh: forget what an earlier check found.
        unit_norm: whether the norms of unit rows are looked at: a line of a check without says nothing of them.
    """

    def __init__(self, path: Path | None, *, fresh: bool, unit_norm: bool) -> None:
        self._path, self._unit_norm = path, unit_norm
        self._file: IO[str] | None = None
        self.problem = ""
        if fresh:
            self.remove()
        self._good = self._load()

    def is_good(self, store: Path, shard: Shard) -> bool:
        """Whether a file was found good and has not changed since."""
        line = self._good.get(shard.file)
        return line is not None and line == self._line(store, shard)

    def add(self, store: Path, shard: Shard) -> None:
        """Note that a file is good."""
        line = self._line(store, shard)
        if self._path is None or self.problem or line is None:
            return
        try:
            if self._file is None:
                self._file = self._path.open("a", encoding="utf-8")
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
        except OSError as error:
            self.problem = (
                f"{self._path} cannot be written ({error.strerror}): if this check is cut off, it begins anew"
            )

    def remove(self) -> None:
        """The check is complete, or what the last one found does not count."""
        self.close()
        try:
            if self._path is not None:
                self._path.unlink(missing_ok=True)
        except OSError as error:
            self.problem = f"{self._path} cannot be removed ({error.strerror})"

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> VerifyState:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _line(self, store: Path, shard: Shard) -> dict[str, Any] | None:
        try:
            found = (store / shard.file).stat()
        except OSError:
            return None
        return {
            "file": shard.file,
            "size": found.st_size,
            "mtime_ns": found.st_mtime_ns,
            "inode": found.st_ino,
            "sha256": shard.record.sha256,
            "unit_norm": self._unit_norm,
        }

    def _load(self) -> dict[str, dict[str, Any]]:
        """The lines by the file that they tell of; half a line, as a kill leaves it, is none."""
        good: dict[str, dict[str, Any]] = {}
        try:
            lines = self._path.read_text("utf-8").splitlines() if self._path is not None else []
        except (OSError, UnicodeDecodeError):
            return {}
        for line in lines:
            try:
                fields = json.loads(line)
                good[fields["file"]] = fields
            except (ValueError, KeyError, TypeError):
                continue
        return good
