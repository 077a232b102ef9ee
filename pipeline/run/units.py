"""How much work a step's missing tasks are, in the step's own units, and how many bytes they write to the store."""

from collections.abc import Sequence

from fdbpl.cache_layout.encodings import label_arrays
from fdbpl.pipeline.clip.backbone import embedding_width
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.data.load import load_data, training_set
from fdbpl.pipeline.evaluation.protocol import tests_of
from fdbpl.pipeline.evaluation.record import test_passes
from fdbpl.pipeline.labels.feature_names import feature_campaigns
from fdbpl.pipeline.run.state import RunState
from fdbpl.pipeline.run.todo import SEPARATOR
from fdbpl.pipeline.students.checked import packs_by_id
from fdbpl.pipeline.students.plan import StudentPlan
from fdbpl.pipeline.training.sampling import steps_per_epoch
from fdbpl.pipeline.training.student_record import finished_records

# crop/box and crop/flip of a view.
_WINDOW_BYTES = 4 * 4 + 1


def units_left(run: RunState, step: str, missing: Sequence[str]) -> tuple[int, int]:
    """Units and bytes of a step's missing tasks; no unit where a step has none (the report).

    Raises:
        ValueError: a model that open_clip does not know, or students with too few images.
    """
    config = run.config
    if step == "prepare":
        return (len(run.labelled), 0) if missing else (0, 0)
    if step == "teach":
        views = _views(run, missing)
        return views, views * label_bytes(config, len(run.data.class_names)) if missing else 0
    if step == "features":
        tables = feature_campaigns(config)
        by_campaign = {name: [task for task in missing if task.startswith(f"{name}{SEPARATOR}")] for name in tables}
        views_of = {
            name: _views(run, [task.split(SEPARATOR)[1] for task in tasks]) for name, tasks in by_campaign.items()
        }
        num_bytes = sum(views * 2 * embedding_width(tables[name].model) for name, views in views_of.items() if views)
        return sum(views_of.values()), num_bytes
    if step == "test-features":
        passes = test_passes(config)
        return sum(len(passes[key].load_data().test) for key in missing), 0
    if step == "test-students":
        images = sum(test.num_images(load_data(test.data)) for test in tests_of(config)) if missing else 0
        return len(missing) * images, 0
    if step.startswith("train-"):
        packs = packs_by_id(config, missing, len(run.data.class_names))
        plans = [plan for pack in packs for plan in pack]
        records = finished_records(config, plans, run.data)
        return sum(_steps(run, plan) for plan in plans if records[plan.id] is None), 0
    return 0, 0


def label_bytes(config: RunConfig, num_classes: int) -> int:
    """Bytes of a view's labels and window."""
    width = embedding_width(config.teacher.model)
    specs = label_arrays(config.store.labels, width=width, num_classes=num_classes, top_k=config.store.top_k)
    return _WINDOW_BYTES + sum(spec.row_bytes for spec in specs)


def _views(run: RunState, blocks: Sequence[str]) -> int:
    views = {block.id: block.num_views for block in run.teacher_grid.blocks()} if blocks else {}
    return sum(views[block] for block in blocks)


def _steps(run: RunState, plan: StudentPlan) -> int:
    images = len(training_set(run.data, plan))
    return plan.config.epochs * steps_per_epoch(images, plan.config.batch_size)
