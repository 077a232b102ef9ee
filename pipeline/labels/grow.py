"""Adding to a run's store what its config asks for and the store does not hold yet: images, crop seeds, class names.

Nothing is computed twice and no file changes: new images and seeds become new blocks for the teacher's tasks, other
class names a class list whose labels follow from the stored embeddings. The teacher must be the very one that made
the store.
"""

from collections.abc import Callable
from dataclasses import dataclass

from fdbpl.cache_layout.encodings import EMBEDDING
from fdbpl.cache_layout.errors import ManifestMismatch
from fdbpl.cache_layout.grow import add_class_list, add_images, grow_campaign
from fdbpl.cache_layout.manifest import differences
from fdbpl.cache_layout.reader import open_reader
from fdbpl.cache_layout.soft_labels import NoSuchLabels
from fdbpl.cache_layout.store import Store, open_store
from fdbpl.pipeline.clip.backbone import load_backbone
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.data.labelled import labelled
from fdbpl.pipeline.data.scan_run import Say, scan_run
from fdbpl.pipeline.datasets.data_set import DataSet
from fdbpl.pipeline.device import device_here
from fdbpl.pipeline.labels.class_lists import Names, wanted_names
from fdbpl.pipeline.labels.grid import grown_grid, new_paths
from fdbpl.pipeline.labels.manifest import CAMPAIGN
from fdbpl.pipeline.labels.stored import stored_labels

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Wanting:
    """What a store lacks for a run: paths of training images, its number of seeds where that is too small, and lists of
    class names, each with why the store has no labels for them."""

    paths: tuple[str, ...] = ()
    num_seeds: int | None = None
    classes: tuple[tuple[Names, NoSuchLabels], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.paths) or self.num_seeds is not None or bool(self.classes)


def wanting(store: Store, config: RunConfig, data: DataSet) -> Wanting:
    """What a store lacks of the images, seeds and class names of a run. Reads the image index, no label."""
    grid = store.campaign(CAMPAIGN).grid
    refused = []
    with open_reader(store.path, allow_unsealed=True) as reader:
        for names in wanted_names(config, data):
            try:
                stored_labels(reader, names.class_names, names.templates)
            except NoSuchLabels as error:
                refused.append((names, error))
    return Wanting(
        paths=new_paths(store, labelled(config, data).paths),
        num_seeds=grid.num_seeds if config.crops.seeds > grid.num_seeds else None,
        classes=tuple(refused),
    )


def refuse(store: Store, config: RunConfig, lacks: Wanting) -> None:
    """Say what a store lacks and how it is added.

    Raises:
        NoSuchLabels: class names are wanting, and the store has no embeddings that they could be had from.
        ValueError: whatever else is wanting.
    """
    if not lacks:
        return
    if lacks.classes and EMBEDDING not in store.arrays:
        raise lacks.classes[0][1]
    lines = [f"the store at {store.path} holds less than the config asks for:"]
    if lacks.paths:
        shown = ", ".join(lacks.paths[:3]) + (" …" if len(lacks.paths) > 3 else "")
        lines.append(f"  training images: {len(lacks.paths)} are not in it ({shown})")
    if lacks.num_seeds is not None:
        lines.append(f"  crops.seeds: found {lacks.num_seeds} in it, expected {config.crops.seeds}")
    lines += [f"  class names: {reason}" for _, refusal in lacks.classes for reason in refusal.reasons]
    lines.append(
        "add what is missing by `fdbpl teach CONFIG --grow` (what is there is kept), or use another store.path"
    )
    raise ValueError("\n".join(lines))


def grow_store(
    store: Store,
    config: RunConfig,
    data: DataSet,
    lacks: Wanting,
    on_progress: OnProgress | None = None,
    say: Say | None = None,
) -> Store:
    """Let the store's teacher campaign cover what was wanting, and add a class list; blocks are written by tasks. New
    images that cannot be read are excluded, where the config says so, be it all of them.

    Raises:
        ManifestMismatch: the teacher at hand is not the one that made the store.
        NoSuchLabels: class names without stored embeddings to have them from.
        ValueError: seeds that would change a written block, bad images (all named).
    """
    grid = grown_grid(store, config, None)
    if lacks.classes:
        _add_classes(store, config, lacks)
    if lacks.paths:
        labels = dict(zip(data.train.paths, data.train.labels, strict=True))
        images = scan_run(
            config,
            lacks.paths,
            [labels[path] for path in lacks.paths],
            on_progress=on_progress,
            digests=store.manifest.fields["images"]["file_digests"] == "sha256",
            may_be_empty=True,
            say=say,
        )
        add_images(store, images)
        grid = grown_grid(store, config, len(images))
    return grow_campaign(open_store(store.path), CAMPAIGN, grid)


def _add_classes(store: Store, config: RunConfig, lacks: Wanting) -> None:
    if EMBEDDING not in store.arrays:
        raise lacks.classes[0][1]
    teacher = load_backbone(config.teacher, device_here(config))
    gaps = differences(store.manifest, {"teacher": teacher.identity()})
    if gaps:
        raise ManifestMismatch(str(store.path), gaps)
    for names, _ in lacks.classes:
        add_class_list(open_store(store.path), names.in_store(teacher))
