"""Dropout of a Hugging Face encoder on a CPU: the same shares by masks from a pool of random bits.

torch draws a random number for every element, which was a quarter of a training step of a small BERT; see
`backbones/dropout.py`. Dropout within attention keeps no module of its own, so that the attention function is ours
where weights are dropped on a CPU, and torch's fused one everywhere else.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from habitus.backbones.dropout import Dropout, is_pooled
from habitus.errors import require

ATTENTION = "sdpa_pooled_dropout"


class PooledDropout(nn.Dropout):
    """`nn.Dropout` by `backbones.dropout.Dropout`; encoders ask for its `p`."""

    def __init__(self, p: float) -> None:
        super().__init__(p)
        self.pooled = Dropout(p)

    def forward(self, input: Tensor) -> Tensor:
        """Return the input with elements dropped, same shape."""
        return self.pooled(input)


def use_pooled_dropout(encoder: nn.Module) -> nn.Module:
    """Put `PooledDropout` in place of every `nn.Dropout` of an encoder; returns it."""
    for parent in list(encoder.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Dropout:
                setattr(parent, name, PooledDropout(child.p))
    return encoder


@cache
def attention_name() -> str:
    """Make the attention function known to transformers; return the name that an encoder is built with."""
    library, masks = require("transformers", "text"), require("transformers.masking_utils", "text")
    fused = require("transformers.integrations.sdpa_attention", "text").sdpa_attention_forward
    library.AttentionInterface.register(ATTENTION, lambda *args, **options: _attend(fused, *args, **options))
    library.AttentionMaskInterface.register(ATTENTION, masks.sdpa_mask)
    return ATTENTION


def _attend(
    fused: Any, module: nn.Module, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """Return (B, T, H, d) from queries, keys and values (B, H, T, d); `mask` is True where a key may be read."""
    share = options.get("dropout", 0.0)
    is_causal = options.get("is_causal")
    is_causal = getattr(module, "is_causal", False) if is_causal is None else is_causal
    weights_shape = torch.Size([*q.shape[:3], k.shape[2]])
    plain = mask is None or mask.dtype == torch.bool
    if (
        not share
        or is_causal
        or not plain
        or k.shape[1] != q.shape[1]
        or not is_pooled(q.device, weights_shape.numel())
    ):
        attended: tuple[Tensor, None] = fused(module, q, k, v, mask, **options)
        return attended
    scaling = options.get("scaling") or q.shape[-1] ** -0.5
    scores = (q @ k.transpose(2, 3)) * scaling
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    return (Dropout(share)(scores.softmax(-1)) @ v).transpose(1, 2).contiguous(), None
