"""A class list: names, prompt templates, and the teacher's text embedding of each class.

A name stands for one column of the logits, so a name given twice is refused. The digest covers what a user
states (names and templates, in order); the embedding follows from them and the teacher, and its last bits
differ between machines, so it has a digest of its own that only guards the stored copy.

Axis letters: C classes, D embedding.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fdbpl.cache_layout.manifest import canonical_json, digest_of
from fdbpl.cache_layout.names import check_name


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassList:
    """C classes in order.

    Args:
        name: of the list, such as `base`; letters, digits and `._+-`.
        class_names: C different names, not empty.
        templates: the prompts that the embedding averages, as the teacher was given them.
        text_embedding_CD: float32, finite; the rows are the teacher's unit text embeddings.

    Raises:
        ValueError: a class name twice or empty, no class, an embedding of another shape or not finite.
    """

    name: str
    class_names: tuple[str, ...]
    templates: tuple[str, ...]
    text_embedding_CD: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        check_name(self.name, "class list", max_depth=1)
        object.__setattr__(self, "class_names", tuple(self.class_names))
        object.__setattr__(self, "templates", tuple(self.templates))
        embedding = np.array(self.text_embedding_CD, np.float32)
        embedding.setflags(write=False)
        object.__setattr__(self, "text_embedding_CD", embedding)
        self._check_names()
        if embedding.ndim != 2 or embedding.shape[0] != len(self.class_names) or not embedding.shape[1]:
            raise ValueError(
                f"class list {self.name}: found a text embedding of shape {embedding.shape}, "
                f"expected ({len(self.class_names)}, D)"
            )
        if not np.isfinite(embedding).all():
            bad = int(np.flatnonzero(~np.isfinite(embedding).all(axis=1))[0])
            raise ValueError(f"class list {self.name}: the embedding of {self.class_names[bad]!r} is not finite")

    def _check_names(self) -> None:
        if not self.class_names:
            raise ValueError(f"class list {self.name}: found no class, expected at least one")
        twice = [name for name, count in Counter(self.class_names).items() if count > 1]
        if twice:
            raise ValueError(f"class list {self.name}: found {twice} more than once, expected each name once")
        if not all(self.class_names):
            raise ValueError(f"class list {self.name}: found an empty class name")

    def __len__(self) -> int:
        return len(self.class_names)

    @property
    def digest(self) -> str:
        """`sha256:` and the digest of class names and templates."""
        return digest_of(canonical_json([list(self.class_names), list(self.templates)]).encode())

    @property
    def embedding_digest(self) -> str:
        """`sha256:` and the digest of the embedding's little-endian bytes."""
        return digest_of(self.text_embedding_CD.astype("<f4").tobytes())
