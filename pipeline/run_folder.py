"""Every path that a run has, and the run's own copies of its configs, from which its tasks read."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.whole_file import replace_json


@dataclass(frozen=True)
class RunFolder:
    root: Path

    @property
    def results_file(self) -> Path:
        return self.root / "results.json"

    @property
    def report_file(self) -> Path:
        return self.root / "report.md"

    def student(self, student_id: str) -> "StudentFolder":
        return StudentFolder(self.root / "students" / student_id)

    def test_features(self, model_key: str) -> Path:
        return self.root / "features" / f"{model_key}.safetensors"

    def save(self, config: RunConfig) -> Path:
        """Keep a config for the tasks of a stage, under a name of its content: tasks that wait in a queue keep
        theirs when the next command has another."""
        values = config.model_dump(mode="json")
        digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
        path = self.root / "configs" / f"{digest[:16]}.json"
        if not path.exists():
            replace_json(path, values)
        return path


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
    def metrics_file(self) -> Path:
        return self.root / "metrics.jsonl"
