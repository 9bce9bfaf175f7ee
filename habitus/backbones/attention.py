"""Multi-head self-attention (Vaswani et al. 2017, arXiv:1706.03762), rotated by position, fading with time.

Fading is the linear bias of ALiBi (Press et al. 2021, arXiv:2108.12409, section 3) on days instead of on positions, at
a learned rate a head; the leading step (index 0) never fades. Attention runs through `scaled_dot_product_attention`;
see `fading_keys` for why the causal form needs no mask. `forward` mixes every step, `last` only the last of each row;
`step.py` has the form that reads one step at a time.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from habitus.backbones.transformer import Transformer

_SHORTEST_DAYS, _LONGEST_DAYS = 1.0, 30.0  # how far heads look at the start, from the nearest to the farthest


class Attention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017, eq. 1 and section 3.2.2), fading with time on request."""

    def __init__(self, config: Transformer) -> None:
        super().__init__()
        width, self.n_heads, self.causal = config.hidden_size, config.n_heads, config.causal
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        if config.time_aware:
            reach = torch.logspace(math.log10(_SHORTEST_DAYS), math.log10(_LONGEST_DAYS), self.n_heads)
            self.log_rate = nn.Parameter(-reach.log())  # of fading, per day

    def forward(self, x_BTD: Tensor, rotation: Tensor | None, days_BT: Tensor | None, mask: Tensor | None) -> Tensor:
        """Return (B, T, D).

        Args:
            x_BTD: states; step 0 is the leading step.
            rotation: of rotary positions, complex (T, d/2), or None.
            days_BT: when each step was, in days, if attention fades with time.
            mask: bool, True where a step may be seen (B, 1, 1, T); None where padding needs none.
        """
        q, k, v = self.qkv(x_BTD).chunk(3, dim=-1)
        if rotation is not None:
            rotation = rotation.repeat(1, self.n_heads)  # of all heads at once: long inner loops
            q, k = rotate(q, rotation), rotate(k, rotation)
        q, k, v = (self._heads(part, days_BT) for part in (q, k, v))
        if days_BT is not None and self.causal:
            q, k, v = fading_keys(q, k, v, days_BT, self.log_rate.exp())
        elif days_BT is not None:
            mask = fading_mask(days_BT, days_BT, self.log_rate.exp(), mask)
        return self._mixed(q, k, v, mask, is_causal=self.causal)

    def last(
        self,
        x_BTD: Tensor,
        rotation: Tensor | None,
        days_BT: Tensor | None,
        last_B: Tensor,
        mask: Tensor | None,
    ) -> Tensor:
        """Return what the step `last_B` of each row mixes of itself and the steps before it, (B, 1, D).

        Args:
            x_BTD, rotation, days_BT: as of `forward`.
            last_B: index of each row's last step.
            mask: bool, True up to the last step (B, 1, 1, T); None if all rows end at T - 1.
        """
        width = x_BTD.shape[-1]
        weight, bias = self.qkv.weight, self.qkv.bias
        q = F.linear(at(x_BTD, last_B), weight[:width], bias[:width])
        k, v = F.linear(x_BTD, weight[width:], bias[width:]).chunk(2, dim=-1)
        if rotation is not None:
            rotation = rotation.repeat(1, self.n_heads)
            q, k = rotate(q, rotation[last_B][:, None]), rotate(k, rotation)
        if days_BT is not None:
            mask = fading_mask(at(days_BT, last_B), days_BT, self.log_rate.exp(), mask)
        q, k, v = (self._heads(part, days_BT) for part in (q, k, v))
        return self._mixed(q, k, v, mask, is_causal=False)

    def _heads(self, x_BTD: Tensor, days_BT: Tensor | None) -> Tensor:
        """Return (B, H, T, d), a view; in full precision with days, which half cannot tell apart: 1,000 round to 4."""
        x = x_BTD if days_BT is None else x_BTD.float()
        return x.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)

    def _mixed(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, *, is_causal: bool) -> Tensor:
        d = self.out.in_features // self.n_heads  # fading keys are wider
        with torch.autocast(q.device.type, enabled=False):  # in the precision that the heads have
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=is_causal, scale=d**-0.5)
        return self.out(mixed[..., :d].transpose(1, 2).flatten(-2))


def fading_keys(q: Tensor, k: Tensor, v: Tensor, days_BT: Tensor, rate_H: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Add -rate * (days_i - days_j) to the score of steps i >= j, and nothing to the leading step's, with no mask.

    Softmax ignores what is equal along a row, so that adding rate * days_j to event scores and rate * days_i to the
    leading step's score gives the same weights: two more dimensions of queries and keys. v is widened to match.
    Steps stay outside of heads in memory, as the linear layers before and after have them.
    """
    B, H, T, d = q.shape
    q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
    is_lead = torch.zeros(T, 1, device=q.device, dtype=q.dtype)
    is_lead[0] = 1.0
    scaled_rate = rate_H * d**0.5  # SDPA divides by sqrt(d)
    days = days_BT[..., None]  # (B, T, 1)
    more_q = torch.stack([scaled_rate.expand(B, T, H), scaled_rate * days], dim=-1)
    more_k = torch.stack([days * (1 - is_lead), is_lead.expand(B, T, 1)], dim=-1).expand(B, T, H, 2)
    wide_q, wide_k, wide_v = torch.cat([q, more_q], -1), torch.cat([k, more_k], -1), F.pad(v, (0, 2))
    return wide_q.transpose(1, 2), wide_k.transpose(1, 2), wide_v.transpose(1, 2)


def fading_mask(query_days_BQ: Tensor, days_BT: Tensor, rate_H: Tensor, mask: Tensor | None) -> Tensor:
    """Return -rate * |days_i - days_j| as a mask (B, H, Q, T); the leading step does not fade, the unseen are -inf."""
    apart_BQT = (query_days_BQ[:, :, None] - days_BT[:, None, :]).abs()
    apart_BQT[:, :, 0] = 0.0
    bias = -rate_H[:, None, None] * apart_BQT[:, None]
    return bias if mask is None else bias.masked_fill(~mask, float("-inf"))


def rotate(x: Tensor, rotation: Tensor) -> Tensor:
    """Turn neighbouring pairs of the last dimension by the given angles (Su et al. 2021, eq. 34).

    Args:
        x: (..., T, d).
        rotation: complex (T, d/2), or what broadcasts to (..., T, d/2).
    """
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * rotation).flatten(-2).to(x.dtype)


def rotations(n_positions: int, n_pairs: int, device: torch.device | None = None) -> Tensor:
    """Return the turn of each pair of a head at each position, complex (T, d/2)."""
    pair = torch.arange(n_pairs, device=device, dtype=torch.float32) / n_pairs
    index = torch.arange(n_positions, device=device, dtype=torch.float32)
    angles = index[:, None] * 10_000.0**-pair
    return torch.polar(torch.ones_like(angles), angles)


def sinusoidal_positions(n_steps: int, width: int) -> Tensor:
    """Return the positions of Vaswani et al. 2017, section 3.5: sin on even, cos on odd columns, (T, D).

    >>> sinusoidal_positions(2, 4)[0].tolist()
    [0.0, 1.0, 0.0, 1.0]
    """
    rate = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
    angle = torch.arange(n_steps)[:, None] * rate
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)[:, :width]


def at(x: Tensor, index_B: Tensor) -> Tensor:
    """Return one step of each row with its dimension kept: (B, T, ...) -> (B, 1, ...).

    >>> at(torch.tensor([[1, 2], [3, 4]]), torch.tensor([1, 0])).tolist()
    [[2], [3]]
    """
    return x[torch.arange(len(x), device=x.device), index_B][:, None]
