"""Every path that a run has, and the run's own copy of its config, from which its tasks read."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.whole_file import replace_json


@dataclass(frozen=True)
class RunFolder:
    root: Path

    @property
    def config_file(self) -> Path:
        return self.root / "config.json"

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

    def save(self, config: RunConfig) -> None:
        replace_json(self.config_file, config.model_dump(mode="json"))

    def config(self) -> RunConfig:
        """The config as saved: all its paths are absolute already."""
        return RunConfig.model_validate(json.loads(self.config_file.read_text()))


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


def model_key(model: str, pretrained: str) -> str:
    """A name for a model with its weights that is fit for files and store groups: 'ViT-B-32.openai'."""
    weights = Path(pretrained)
    return re.sub(r"[^A-Za-z0-9_-]+", "_", model) + "." + re.sub(r"[^A-Za-z0-9_-]+", "_", weights.stem)
