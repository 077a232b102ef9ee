"""The teachers and the students of a reproduction: what is there, and making what is not."""

from collections.abc import Callable
from pathlib import Path

from fdbpl.pipeline.clip.training_files import training_files
from fdbpl.pipeline.clip.world_recipes import ClipRecipe
from fdbpl.pipeline.reproduce.form import TEACHER_SEED, TEACHERS, Form
from fdbpl.pipeline.reproduce.runs import Layout


def model_names(form: Form) -> tuple[str, ...]:
    """The models of a form; the longest trainings first."""
    return (*sorted(form.teachers, key=lambda name: TEACHERS[name] is None), *form.students)


def is_model_made(form: Form, folder: Path, name: str) -> bool:
    """Whether a model's checkpoint is there, and is what its record tells of. Imports no torch.

    Raises:
        ValueError: the folder holds a model of another recipe.
    """
    layout = Layout(folder)
    recipe, role, seed = _training(form, name)
    if recipe is None:
        return layout.checkpoint(name).exists()
    files = training_files(role, folder=layout.model(name), seed=seed, recipe=recipe)
    return files.finished_record() is not None


def make_model(form: Form, folder: Path, name: str, on_progress: Callable[[int, int], None]) -> None:
    """Train a model, or go on with its training; the shipped teacher is unpacked."""
    from fdbpl.pipeline.clip.tiny import unpack_tiny_checkpoints
    from fdbpl.pipeline.clip.world_training import train_clip

    target = Layout(folder).model(name)
    recipe, role, seed = _training(form, name)
    if recipe is None:
        unpack_tiny_checkpoints(target)
    else:
        # What a model can do is told by the zero-shot rows, on the worlds themselves.
        train_clip(role, folder=target, seed=seed, recipe=recipe, measured_images_per_pair=0, on_progress=on_progress)


def _training(form: Form, name: str) -> tuple[ClipRecipe | None, str, int]:
    """Recipe (None: ships with the package), role and seed."""
    if name in form.students:
        return form.student_recipe, "student", int(name.removeprefix("student"))
    return TEACHERS[name], "teacher", TEACHER_SEED
