"""Every path that a run has, and the run's own copies of its configs, from which its tasks read."""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.whole_file import replace_file


@dataclass(frozen=True)
class RunFolder:
    root: Path

    @property
    def results_file(self) -> Path:
        return self.root / "results.json"

    @property
    def report_file(self) -> Path:
        return self.root / "report.md"

    @property
    def page_file(self) -> Path:
        """The report as a page for a browser."""
        return self.root / "report.html"

    @property
    def scan_log(self) -> Path:
        """What scans of the image files have found; may be removed, then they are read again."""
        return self.root / "scan"

    @property
    def bad_images_file(self) -> Path:
        """The bad files of the last scan that ended with an error: path, tab, reason."""
        return self.root / "bad-images.tsv"

    def data_list(self, digest: str) -> Path:
        """The images of a data set that is told by folders, listed once and kept by the list's digest."""
        return self.root / "data" / f"{digest.removeprefix('sha256:')[:16]}.json"

    def subset(self, shots: int, seed: int) -> Path:
        """The few-shot images that students of this seed learn from."""
        return self.root / "few_shot" / f"shot_{shots}-seed_{seed}.json"

    def student(self, student_id: str) -> "StudentFolder":
        return StudentFolder(self.root / "students" / student_id)

    def inspection(self, name: str) -> Path:
        """The page of what `fdbpl inspect` has found, by what was asked; may be removed."""
        return self.root / "inspect" / f"{re.sub(r'[^A-Za-z0-9._+-]+', '_', name)}.html"

    def test_features(self, model_key: str) -> Path:
        return self.root / "features" / f"{model_key}.safetensors"

    @property
    def configs(self) -> Path:
        """The configs that tasks of this run were submitted with."""
        return self.root / "configs"

    def config_file(self, config: RunConfig) -> Path:
        """Where a config is kept for the tasks of a run, by its content: tasks that wait in a queue keep theirs when
        the next command has another."""
        return self.configs / f"{hashlib.sha256(_text(config)).hexdigest()[:16]}.json"

    def save(self, config: RunConfig) -> Path:
        """Keep a config for tasks."""
        path = self.config_file(config)
        if not path.exists():
            replace_file(path, _text(config))
        return path


def _text(config: RunConfig) -> bytes:
    return json.dumps(config.model_dump(mode="json"), indent=1, sort_keys=True).encode() + b"\n"


def saved_config(path: Path) -> RunConfig:
    """A config as `RunFolder.save` kept it: all its paths are absolute already."""
    return RunConfig.model_validate(json.loads(path.read_text()))


@dataclass(frozen=True)
class StudentFolder:
    root: Path

    @property
    def prompts_file(self) -> Path:
        return self.root / "prompts.safetensors"

    @property
    def record_file(self) -> Path:
        """Written last: a student with a record is finished."""
        return self.root / "record.json"

    @property
    def checkpoint_file(self) -> Path:
        return self.root / "checkpoint.pt"

    @property
    def tests_file(self) -> Path:
        """What it reaches on the tests, where finding that is a task of its own."""
        return self.root / "tests.json"

    @property
    def metrics_file(self) -> Path:
        return self.root / "metrics.jsonl"
