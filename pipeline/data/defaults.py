"""What a config's data section leaves open, filled in by the layout of its data set."""

from difflib import get_close_matches

from fdbpl.pipeline.config import DataConfig
from fdbpl.pipeline.datasets.catalog import KNOWN, PHOTO


def with_defaults(data: DataConfig) -> DataConfig:
    """The section with layout, images, split and template all told; one that is full stays as it is.

    Raises:
        ValueError: a layout that needs a split file and has none, or the other way round.
    """
    layout = data.layout or _layout_of(data)
    known = KNOWN.get(layout)
    named = known or KNOWN.get(data.name)
    images, split = (known.images, known.split) if known is not None else _own_defaults(data, layout)
    if layout == "class_folders" and data.split:
        raise ValueError(
            f'data.split: found {data.split!r}, expected none: with layout = "class_folders" the folders tell; set '
            'layout = "split_json" to read that file'
        )
    if layout == "split_json" and not (data.split or split):
        raise ValueError('data.split: found nothing, expected the split file, as layout = "split_json" says')
    return data.model_copy(
        update={
            "layout": layout,
            "images": data.images or images,
            "split": data.split or split,
            "template": data.template or (named.template if named is not None else PHOTO),
        }
    )


def not_known(name: str) -> str:
    """What may help where a data set was taken for folders of classes, since its name is not known; else ""."""
    near = get_close_matches(name.lower().replace("-", "_"), KNOWN, n=1)
    return f" (did you mean the known data set {near[0]!r}?)" if near and name not in KNOWN else ""


def _layout_of(data: DataConfig) -> str:
    """By the name of a known data set; else, and where a split file is given in place of folders, by what is given."""
    known = KNOWN.get(data.name)
    if known is not None and (known.reader == "split_json" or not data.split.endswith(".json")):
        return known.name
    return "split_json" if data.split else "class_folders"


def _own_defaults(data: DataConfig, layout: str) -> tuple[str, str]:
    """Images and split of a layout that is nobody's own."""
    if layout == "class_folders":
        return ".", ""
    known = KNOWN.get(data.name)
    if known is None:
        return "images", ""
    return known.images, known.split if known.reader == "split_json" else ""
