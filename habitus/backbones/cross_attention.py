"""Cross-attention: the decoder's steps ask, the encoder's states answer (Vaswani et al. 2017, section 3.2.3).

The keys and values of a source are made once (`remember`) and asked by every step that is written.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class CrossAttention(nn.Module):
    """Multi-head attention of one sequence to another (eq. 1 and section 3.2.2 of the paper).

    Args:
        width: of states, D.
        n_heads: H, a divisor of D.
    """

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def remember(self, states_BTD: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values of the encoder's states, (B, H, T, d) each."""
        keys, values = self.key_value(states_BTD).chunk(2, dim=-1)
        return self._heads(keys), self._heads(values)

    def forward(self, x_BQD: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        """Return what each step reads of the source, (B, Q, D).

        Args:
            x_BQD: what asks.
            keys, values: from `remember`.
            mask: bool, True where a source step may be seen, (B, 1, 1, T); None where all may.
        """
        query = self._heads(self.query(x_BQD))
        with torch.autocast(query.device.type, enabled=False):  # in the precision that the heads have
            mixed = F.scaled_dot_product_attention(query, keys, values, attn_mask=mask)
        return self.out(mixed.transpose(1, 2).flatten(-2))

    def weights(self, x_BQD: Tensor, keys: Tensor, mask: Tensor | None) -> Tensor:
        """Return how much each step reads of each source step, (B, H, Q, T): for pictures, not for training."""
        query = self._heads(self.query(x_BQD))
        scores = query @ keys.transpose(-1, -2) * query.shape[-1] ** -0.5
        return (scores if mask is None else scores.masked_fill(~mask, float("-inf"))).softmax(dim=-1)

    def _heads(self, x_BTD: Tensor) -> Tensor:
        return split_heads(x_BTD, self.n_heads)


def split_heads(x_BTD: Tensor, n_heads: int) -> Tensor:
    """Return the heads apart, (B, H, T, d), a view.

    >>> split_heads(torch.zeros(2, 3, 8), 4).shape
    torch.Size([2, 4, 3, 2])
    """
    return x_BTD.unflatten(-1, (n_heads, -1)).transpose(1, 2)
