"""What a store's labels say of given class names."""

from collections.abc import Sequence

from fdbpl.cache_layout.reader import Reader
from fdbpl.cache_layout.soft_labels import SoftLabels, soft_labels
from fdbpl.pipeline.labels.manifest import CLASS_LIST


def stored_labels(reader: Reader, class_names: Sequence[str], templates: Sequence[str] | None = None) -> SoftLabels:
    """A store's labels over these classes, made with these templates; those of its own class list, which a run has
    compared with its config, where None. Reads no label. Raises NoSuchLabels."""
    templates = reader.class_list(CLASS_LIST).templates if templates is None else templates
    return soft_labels(reader, class_names, templates=templates, columns=CLASS_LIST)
