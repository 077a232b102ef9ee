"""Where a training of a tiny CLIP keeps its checkpoint, its record and its state; told without torch.

Invariant: a record tells of a finished training of one role, recipe and seed, by the digest of its checkpoint.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fdbpl.pipeline.clip.world_recipes import ClipRecipe


@dataclass(frozen=True, kw_only=True)
class TrainingFiles:
    """The files of one training; its identity is in the name of the saved state, and in the record."""

    folder: Path
    role: str
    identity: Mapping[str, Any]

    @property
    def checkpoint(self) -> Path:
        return self.folder / f"{self.role}.safetensors"

    @property
    def record(self) -> Path:
        return self.folder / f"{self.role}.json"

    @property
    def state(self) -> Path:
        digest = hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()
        return self.folder / f"{self.role}-{digest[:12]}.training.pt"

    def finished_record(self) -> dict[str, Any] | None:
        """Return the record of a finished training, None where there is none or its checkpoint is not the one it
        tells of; refuse another training's."""
        if not self.record.exists():
            return None
        record: dict[str, Any] = json.loads(self.record.read_text())
        self._refuse_another(self.record, record)
        return record if record["sha256"] == self.content() else None

    def content(self) -> str | None:
        """Return the digest of the checkpoint, None where there is none."""
        return hashlib.sha256(self.checkpoint.read_bytes()).hexdigest() if self.checkpoint.exists() else None

    def remove_states(self) -> None:
        """Remove the saved states of this role: it is finished."""
        for state in self.folder.glob(f"{self.role}-*.training.pt"):
            state.unlink()

    def _refuse_another(self, path: Path, found: Mapping[str, Any]) -> None:
        different = [
            f"{name}: found {found.get(name)}, expected {value}"
            for name, value in self.identity.items()
            if found.get(name) != value
        ]
        if different:
            raise ValueError(
                f"{path} is of another training ({'; '.join(different)}); choose another folder or delete it"
            )


def training_files(role: str, *, folder: Path, seed: int, recipe: ClipRecipe) -> TrainingFiles:
    """The files of the training of a role, recipe and seed in `folder`."""
    return TrainingFiles(folder=folder, role=role, identity={"role": role, "seed": seed, "recipe": recipe.to_json()})
