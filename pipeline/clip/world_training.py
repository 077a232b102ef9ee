"""Training of the tiny CLIPs on captions of the miniature world: recorded, seeded, resumable.

Invariant: a training that was killed ends with the weights of one that was not, on the same machine and number of
threads. Costs 19 minutes for the teacher and 2 for the student on one thread, and 300 MB.
"""

import json
import logging
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import PIL
import torch
from safetensors.torch import save

from fdbpl.pipeline.clip.training_files import TrainingFiles, training_files
from fdbpl.pipeline.clip.world_accuracy import measure_clip
from fdbpl.pipeline.clip.world_batches import make_batch, told_facts
from fdbpl.pipeline.clip.world_images import render_images
from fdbpl.pipeline.clip.world_recipes import RECIPES, ClipRecipe
from fdbpl.pipeline.clip.world_trainer import ClipTrainer
from fdbpl.pipeline.whole_file import replace_file

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TrainedClip:
    """A finished training: an ordinary open_clip checkpoint, and the record of how it was made."""

    checkpoint: Path
    record: Mapping[str, Any]


def train_clip(
    role: str,
    *,
    folder: Path,
    seed: int = 0,
    recipe: ClipRecipe | None = None,
    steps_between_saves: int = 250,
    measured_images_per_pair: int = 40,
    num_threads: int = 1,
    on_progress: Callable[[int, int], None] | None = None,
) -> TrainedClip:
    """Train the tiny teacher or student, or go on where a killed training stopped.

    Writes `<role>.safetensors` and `<role>.json` into `folder`; a finished training of the same recipe and seed
    is returned as it is. `on_progress(done, total)` counts steps. The record holds the recipe, the versions, the
    seconds and the accuracies of `measure_clip` (none where `measured_images_per_pair` is 0).

    Raises:
        ValueError: an unknown role, or a folder that holds a training of another recipe or seed.
    """
    if role not in RECIPES:
        raise ValueError(f"found the role {role!r}, expected one of {', '.join(RECIPES)}")
    recipe = recipe or RECIPES[role]
    folder.mkdir(parents=True, exist_ok=True)
    files = training_files(role, folder=folder, seed=seed, recipe=recipe)
    finished = files.finished_record()
    if finished is None:
        with _threads(num_threads):
            trainer = ClipTrainer(recipe, seed=seed)
            if files.state.exists():
                trainer.resume(files.state.read_bytes())
                logger.info("%s goes on from step %d", role, trainer.step)
            _train(trainer, files, seed=seed, every=steps_between_saves, on_progress=on_progress)
            replace_file(files.checkpoint, save(trainer.full_state()))
            finished = {**files.identity} | _outcome(trainer) | {"num_threads": num_threads, "sha256": files.content()}
            if measured_images_per_pair:
                finished["accuracy"] = measure_clip(
                    recipe.model, files.checkpoint, images_per_pair=measured_images_per_pair
                )
        replace_file(files.record, (json.dumps(finished, indent=1) + "\n").encode())
        files.remove_states()
    return TrainedClip(checkpoint=files.checkpoint, record=finished)


def _train(
    trainer: ClipTrainer,
    files: TrainingFiles,
    *,
    seed: int,
    every: int,
    on_progress: Callable[[int, int], None] | None,
) -> None:
    """Take the remaining steps, saving the state after each `every`."""
    recipe = trainer.recipe
    began = time.monotonic() - trainer.seconds
    images = render_images(recipe.num_images, seed=seed, spec=recipe.scenes)
    told_N3 = told_facts(images, seed=seed, wrong_word_fraction=recipe.wrong_word_fraction)
    while trainer.step < recipe.steps:
        size = trainer.image_size
        trainer.take_step(make_batch(images, told_N3, recipe=recipe, seed=seed, step=trainer.step, size=size))
        trainer.seconds = time.monotonic() - began
        if trainer.step % every == 0 or trainer.step == recipe.steps:
            replace_file(files.state, trainer.state())
            logger.info(
                "%s, step %d: loss %.3f, accuracy %.3f",
                files.role,
                trainer.step,
                trainer.loss,
                trainer.accuracy,
            )
        if on_progress is not None:
            on_progress(trainer.step, recipe.steps)


def _outcome(trainer: ClipTrainer) -> dict[str, Any]:
    """Return what came out, and with which versions."""
    return {
        "loss": round(trainer.loss, 4),
        "batch_accuracy": round(trainer.accuracy, 4),
        "seconds": round(trainer.seconds, 1),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "open_clip": open_clip.__version__,
            "numpy": np.__version__,
            "pillow": PIL.__version__,
        },
    }


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Compute with so many threads, and set the number back."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
