"""A learned classifier as a plain matrix, for whoever uses the model without this program."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save
from torch import Tensor

from fdbpl.pipeline.learners.base import Learner
from fdbpl.pipeline.training.saved_learner import Use
from fdbpl.pipeline.whole_file import replace_file

SUFFIXES = (".safetensors", ".npy")


def export_classifier(learner: Learner, use: Use, class_names: Sequence[str], out: Path) -> dict[str, Any]:
    """Write the text features of class names under the learned prompts: unit vectors float32 [C, D] (`classifier`), and
    those of the negative prompts where there are some. `.npy` holds the classifier alone, with the names in a text file
    beside it; `.safetensors` all of it.

    Returns:
        What was written, as JSON.

    Raises:
        ValueError: another suffix, or a learner of which plain image features and a matrix are not all.
    """
    if out.suffix not in SUFFIXES:
        raise ValueError(f"found --out {out}, expected a file that ends in {' or '.join(SUFFIXES)}")
    if "pixels" in learner.needs:
        raise ValueError(
            f"found prompts of {use.learner}, which change the image encoder too, expected those of a learner of text "
            "alone: their text features do not go with the plain model's image features; use `fdbpl predict`"
        )
    found = {name: value.cpu().contiguous() for name, value in learner.classifier(class_names).items()}
    written = [out]
    if out.suffix == ".npy":
        buffer = io.BytesIO()
        np.save(buffer, found["classifier"].numpy())
        replace_file(out, buffer.getvalue(), durable=True)
        names = out.with_suffix(".txt")
        replace_file(names, "".join(f"{name}\n" for name in class_names).encode())
        written.append(names)
    else:
        replace_file(out, save(found, metadata=_header(use, class_names, found)), durable=True)
    return {
        "files": [str(path) for path in written],
        "classes": len(class_names),
        "width": int(found["classifier"].shape[1]),
        "tensors": sorted(found) if out.suffix == ".safetensors" else ["classifier"],
        "model": use.model.model,
        "pretrained": use.model.pretrained,
    }


def _header(use: Use, class_names: Sequence[str], found: dict[str, Tensor]) -> dict[str, str]:
    return {
        "class_names": json.dumps(list(class_names)),
        "model": use.model.model,
        "pretrained": use.model.pretrained,
        "holds": "unit text features float32 [classes, width]: " + ", ".join(sorted(found)),
    }
