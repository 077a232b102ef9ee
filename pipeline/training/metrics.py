"""What a student tells of each epoch while it trains: a line of JSON, and whatever sinks the run names besides.

A student that goes on from a state tells each epoch once: what was told beyond the state is told again. A sink that
fails costs a warning, never the training.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Protocol

from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.run_folder import RunFolder
from fdbpl.pipeline.whole_file import replace_file

logger = logging.getLogger(__name__)

Means = Mapping[str, float]
"""The mean of each term over an epoch, by its name."""


class Sink(Protocol):
    """Where epochs go; each method may raise anything."""

    def begin(self, epochs: Sequence[Means]) -> None:
        """These are done already, and may have been told before."""

    def epoch(self, number: int, means: Means) -> None:
        """Epoch `number`, from 0."""

    def close(self) -> None: ...


def check_sinks(config: RunConfig) -> None:
    """Refuse sinks that are not installed. Raises ValueError."""
    for name in config.metrics.sinks:
        if find_spec(name) is None:
            raise ValueError(
                f"metrics.sinks: found {name!r}, which is not installed: `pip install {name}`, or take it out"
            )


class Metrics:
    """All that a student tells its epochs to."""

    def __init__(self, sinks: Sequence[Sink], student: str) -> None:
        self._sinks, self._student = list(sinks), student

    def begin(self, epochs: Sequence[Means]) -> None:
        self._tell("begin", epochs)

    def epoch(self, number: int, means: Means) -> None:
        self._tell("epoch", number, means)

    def close(self) -> None:
        self._tell("close")
        self._sinks.clear()

    def _tell(self, what: str, *arguments: object) -> None:
        for sink in tuple(self._sinks):
            try:
                getattr(sink, what)(*arguments)
            except Exception as error:  # noqa: BLE001 - whatever a library of others does must not end a training
                self._sinks.remove(sink)
                logger.warning("student %s is no longer told to %s: %s", self._student, type(sink).__name__, error)


def student_metrics(config: RunConfig, student: str) -> Metrics:
    """The metrics of a student of a run: its metrics.jsonl, and the sinks that the config names."""
    sinks: list[Sink] = [JsonLines(RunFolder(config.folder).student(student).metrics_file)]
    if config.metrics.sinks:
        from fdbpl.pipeline.training.metric_sinks import SINKS

        sinks += [SINKS[name](config, student) for name in config.metrics.sinks]
    return Metrics(sinks, student)


class JsonLines:
    """A line of JSON for each epoch: {"epoch": 0, "loss": …, …}."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None

    def begin(self, epochs: Sequence[Means]) -> None:
        replace_file(self._path, lines_of(epochs).encode())
        self._file = self._path.open("a", buffering=1)

    def epoch(self, number: int, means: Means) -> None:
        assert self._file is not None, "begun before"
        self._file.write(_line(number, means))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def lines_of(epochs: Sequence[Means]) -> str:
    """The whole file of these epochs."""
    return "".join(_line(number, means) for number, means in enumerate(epochs))


def _line(number: int, means: Means) -> str:
    return json.dumps({"epoch": number, **means}) + "\n"
