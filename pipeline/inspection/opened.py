"""A run's store, opened to be looked into: its labels over some class names, and of which class each image is.

No label is read here. What an image's class is, the run's own data set says, by its path; the store may hold images
that this data set does not have. Letters: N images of the store, M images looked at, B views, C classes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fdbpl.cache_layout.reader import Reader
from fdbpl.cache_layout.soft_labels import SoftLabels
from fdbpl.kernels.dual_prompt import check_num_classes
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.data.load import load_data
from fdbpl.pipeline.datasets.few_shot import base_and_new
from fdbpl.pipeline.inspection.names import find_class, unknown
from fdbpl.pipeline.labels.class_lists import Names
from fdbpl.pipeline.labels.stored import stored_labels
from fdbpl.pipeline.training.student_store import open_run_store

PARTS = ("all", "base", "new")
"""What the labels may be over, beside the class lists of a store: the data set's classes, or a half of them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Opened:
    """A store with a question to it.

    Attributes:
        labels: over `class_names`, C different ones.
        names: what these are: one of PARTS, or a class list of the store.
        image_classes: the data set's class names.
        classes_N: the class of each image among these, int64; -1 where the data set does not have the image.
        within: the classes whose images are looked at.
    """

    config: RunConfig
    reader: Reader
    labels: SoftLabels
    class_names: tuple[str, ...]
    names: str
    image_classes: tuple[str, ...]
    classes_N: NDArray[np.int64]
    within: range

    def class_of(self, image: int) -> str | None:
        """The class of an image; None where the data set does not have it."""
        number = int(self.classes_N[image])
        return self.image_classes[number] if number >= 0 else None

    def own_places(self, images_B: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where the class of each image stands among the names that the labels are over; -1 where it does not."""
        return self._places_C[self.classes_N[images_B]]

    @cached_property
    def _places_C(self) -> NDArray[np.int64]:
        """The same of each class; images of no class, -1, find the last entry."""
        places = {name: place for place, name in enumerate(self.class_names)}
        return np.array([*(places.get(name, -1) for name in self.image_classes), -1], np.int64)

    def images(self, class_name: str = "", *, most: int = 0, seed: int = 0) -> NDArray[np.int64]:
        """The images to look at, in the store's order: int64 [M].

        Args:
            class_name: of this class alone; of all that are looked at where "".
            most: how many at most, drawn by `seed`; 0 takes all.

        Raises:
            ValueError: an unknown class, or one without an image in the store.
        """
        if class_name:
            number = find_class(self.image_classes, class_name)
            found_M = np.flatnonzero(self.classes_N == number)
        elif len(self.within) == len(self.image_classes):
            found_M = np.arange(len(self.classes_N))
        else:
            found_M = np.flatnonzero((self.classes_N >= self.within.start) & (self.classes_N < self.within.stop))
        if not len(found_M):
            asked = f"class {class_name!r}" if class_name else f"the classes of --names {self.names}"
            raise ValueError(
                f"found no image of {asked} in the store at {self.reader.path}, expected some: choose others, or add "
                "images by `fdbpl teach CONFIG --grow`"
            )
        if 0 < most < len(found_M):
            found_M = np.sort(np.random.default_rng(seed).choice(found_M, most, replace=False))
        return found_M


@contextmanager
def open_inspection(config: RunConfig, names: str = "all") -> Iterator[Opened]:
    """Open a run's store with labels over the data set's classes, the half `base` or `new` of them, or a class list of
    the store.

    Raises:
        ValueError: unknown names, or fewer than two classes.
        CacheError: no store, one that is not sealed or was made otherwise than the config says, or one that has no
            labels over these names.
    """
    data = load_data(config.data)
    with open_run_store(config) as reader:
        within = range(len(data.class_names))
        if names in PARTS:
            within = {"all": within, **dict(zip(PARTS[1:], base_and_new(len(within)), strict=True))}[names]
            own = data.class_names[within.start : within.stop]
            asked = Names(class_names=own, templates=config.teacher.templates)
        elif names in reader.class_lists:
            held = reader.class_list(names)
            asked = Names(class_names=held.class_names, templates=held.templates)
        else:
            raise unknown("class names", names, [*PARTS, *(one for one in reader.class_lists if one not in PARTS)])
        check_num_classes(len(asked.class_names))
        labels = dict(zip(data.train.paths, data.train.labels, strict=True))
        yield Opened(
            config=config,
            reader=reader,
            labels=stored_labels(reader, asked.class_names, asked.templates),
            class_names=asked.class_names,
            names=names,
            image_classes=data.class_names,
            classes_N=np.array([labels.get(path, -1) for path in reader.images.paths], dtype=np.int64),
            within=within,
        )
