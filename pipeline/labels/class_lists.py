"""The lists of class names that a run asks its teacher about: the data set's own, and vocabularies of kdpl_ca.

Each is kept in the store as a class list, with the teacher's text features: whoever reads it needs no teacher.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fdbpl.cache_layout.class_list import ClassList
from fdbpl.cache_layout.manifest import canonical_json, digest_of
from fdbpl.pipeline.clip.backbone import Backbone
from fdbpl.pipeline.clip.zero_shot import text_classifier
from fdbpl.pipeline.config import WEIGHING, RunConfig, StudentConfig
from fdbpl.pipeline.datasets.data_set import DataSet
from fdbpl.pipeline.datasets.name_list import read_names

# The prompt of a vocabulary's names, as KDPL has it (arXiv 2407.03056).
VOCABULARY_TEMPLATES = ("a photo of a {}.",)


@dataclass(frozen=True, kw_only=True)
class Names:
    """Class names, and the prompts by which the teacher knows them."""

    class_names: tuple[str, ...]
    templates: tuple[str, ...]

    def in_store(self, teacher: Backbone, name: str = "") -> ClassList:
        """They as a class list, named by their content where nothing else is said."""
        stated = digest_of(canonical_json([list(self.class_names), list(self.templates)]).encode())
        return ClassList(
            name=name or f"names-{stated.removeprefix('sha256:')[:12]}",
            class_names=self.class_names,
            templates=self.templates,
            text_embedding_CD=text_classifier(teacher, self.class_names, self.templates).cpu().numpy(),
        )


def wanted_names(config: RunConfig, data: DataSet) -> list[Names]:
    """The names over which a store must have labels: the data set's first, then each vocabulary whose labels are read
    once. Raises ValueError as `read_names`."""
    own = Names(class_names=data.class_names, templates=config.teacher.templates)
    read = (vocabulary(table) for table in config.student if table.vocabulary and reads_labels(table))
    return list(dict.fromkeys([own, *read]))


def asked_names(config: RunConfig, table: StudentConfig, class_names: Sequence[str]) -> Names:
    """The names over which a table's students are taught: its vocabulary's, else those of the classes trained on.
    Raises ValueError as `read_names`."""
    if table.vocabulary:
        return vocabulary(table)
    return Names(class_names=tuple(class_names), templates=config.teacher.templates)


def reads_labels(table: StudentConfig) -> bool:
    """Whether students of a table read stored labels: as targets, or to choose their views."""
    return "cached" in table.supervision or table.views in WEIGHING


def vocabulary(table: StudentConfig) -> Names:
    """The names of a table's vocabulary. Raises ValueError as `read_names`."""
    return Names(class_names=read_names(Path(table.vocabulary)), templates=VOCABULARY_TEMPLATES)
