"""What names a model's weights: by content where they are a file, by tag where open_clip knows them."""

import re
from functools import lru_cache
from pathlib import Path

from fdbpl.pipeline.config import ModelConfig
from fdbpl.pipeline.kept_digests import kept_digest


def weights_source(pretrained: str) -> str:
    """'tag NAME' for weights that open_clip knows by a tag, 'sha256:…' of the file for a checkpoint."""
    path = Path(pretrained)
    return f"sha256:{_file_digest(path, path.stat().st_mtime_ns)}" if path.is_file() else f"tag {pretrained}"


def model_key(model: ModelConfig) -> str:
    """A name for a model with its weights and arithmetic that is fit for files and store groups.

    'ViT-B-32.openai', 'ViT-B-32.openai-bf16', 'tiny.student-1a2b3c4d': two models have one key only if they are one.
    """
    source = weights_source(model.pretrained)
    digest = f"-{source.removeprefix('sha256:')[:8]}" if source.startswith("sha256:") else ""
    precision = "" if model.precision == "fp32" else f"-{model.precision}"
    return f"{_plain(model.model)}.{_plain(Path(model.pretrained).stem)}{digest}{precision}"


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name)


@lru_cache(maxsize=64)
def _file_digest(path: Path, _modified: int) -> str:
    return kept_digest(path)
