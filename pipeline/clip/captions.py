"""Captions of the miniature world: templates by style, and the token rows that they use.

A negative looks like a photo, so the style word is what tells how a colour word is to be read; a generic
caption says neither. Prompts may end with a stop or without: the tiny CLIPs read both.
"""

from collections.abc import Sequence
from functools import cache

import open_clip
from torch import Tensor

from fdbpl.pipeline.datasets.synthetic import COLORS, SHAPES

STYLE_TEMPLATES = {"photo": "a photo of a {}", "negative": "a negative of a {}"}
GENERIC_TEMPLATE = "a picture of a {}"
# Words that prompts are often started from; no caption trains them.
_EXTRA_WORDS = "no not the this that an image view x type of in with , ."


@cache
def tokenizer(context_length: int) -> open_clip.SimpleTokenizer:
    """Return open_clip's own tokenizer at the tiny models' context length."""
    return open_clip.SimpleTokenizer(context_length=context_length)


def tokenize(texts: Sequence[str], *, context_length: int) -> Tensor:
    """Return token ids int64 [len(texts), context_length]."""
    ids_CT: Tensor = tokenizer(context_length)(list(texts))
    return ids_CT


def token_rows(*, context_length: int) -> Tensor:
    """Return the sorted ids int64 [R] of every token that captions and usual prompts hold.

    The order is kept when ids are replaced by their rank, so that the end token is still the largest: the tiny
    CLIPs pool there.
    """
    names = [f"{color} {shape}" for color in COLORS for shape in SHAPES]
    texts = [t.format(n) + "." for t in (*STYLE_TEMPLATES.values(), GENERIC_TEMPLATE) for n in names]
    rows_R: Tensor = tokenize([*texts, _EXTRA_WORDS], context_length=context_length).unique()
    return rows_R
