"""CLIP's text tower fed with embeddings in place of tokens: what prompt learners differentiate through.

Only positions up to the last end-of-text token are computed. Under the causal mask a later position changes no
earlier one, so the result is the full tower's up to float rounding. Deep prompts (MaPLe, PromptSRC) stand in for the
hidden states of the first M context tokens, positions 1 to M, at the inputs of layers 1 to L.
Letters: C prompts, T positions, M context tokens, L layers, W width of the tower, D embedding.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from fdbpl.pipeline.clip.deep_prompts import run_layers

# The start-of-text token is at 0; the context follows it.
_FIRST_CONTEXT = 1


def check_text_tower(module: Any) -> None:
    """Refuse models whose text tower is not CLIP's own: prompts are inserted into its token sequence.

    Raises:
        ValueError: for example a CustomTextCLIP with a Hugging Face text model.
    """
    needed = ("token_embedding", "positional_embedding", "transformer", "ln_final", "text_projection")
    missing = [name for name in needed if not hasattr(module, name)]
    pool = getattr(module, "text_pool_type", None)
    if missing or pool != "argmax" or getattr(module, "attn_mask", None) is None:
        raise ValueError(
            f"found a {type(module).__name__} (pooling {pool!r}, without {', '.join(missing) or 'a causal mask'}), "
            "expected a CLIP with its own causal text tower, such as ViT-B-32: text prompts are learned inside it"
        )


def embed_tokens(module: Any, tokens_CT: Tensor) -> Tensor:
    """Token embeddings [C, T, W] float32, without positions."""
    embedded: Tensor = module.token_embedding(tokens_CT)
    return embedded.detach().to(torch.float32)


def encode_embeddings(module: Any, embeddings_CTW: Tensor, end_C: Tensor, deep_LMW: Tensor | None = None) -> Tensor:
    """Unit text features [C, D] float32, differentiable with respect to the embeddings and the deep prompts.

    Args:
        module: an open_clip CLIP.
        embeddings_CTW: token embeddings without positions; T need not be the full context length.
        end_C: index of each prompt's end-of-text token, below T.
        deep_LMW: the context's hidden states at the inputs of layers 1 to L, the same for every prompt; None leaves
            what the layers make of the embeddings.
    """
    length = embeddings_CTW.shape[1]
    hidden_CTW = embeddings_CTW + module.positional_embedding[:length]
    mask_TT = module.attn_mask[:length, :length]
    hidden_CTW = run_layers(module.transformer, hidden_CTW, deep_LMW, first=_FIRST_CONTEXT, mask_TT=mask_TT)
    return finish(module, hidden_CTW[torch.arange(len(end_C), device=end_C.device), end_C])


def finish(module: Any, ends: Tensor) -> Tensor:
    """Unit text features [..., D] float32 of the end tokens' hidden states [..., W] behind the last layer."""
    pooled = module.ln_final(ends)
    projection = module.text_projection
    features = projection(pooled) if isinstance(projection, torch.nn.Module) else pooled @ projection
    return normalize(features.to(torch.float32), dim=-1)
