"""Multi-head self-attention (Vaswani et al. 2017, arXiv:1706.03762), rotated by position, fading with time.

Fading is the linear bias of ALiBi (Press et al. 2021, arXiv:2108.12409, section 3) on days instead of on positions, at
a learned rate a head; the leading step (index 0) never fades. Attention runs through `scaled_dot_product_attention`;
see `fading_keys` for why the causal form needs no mask. `forward` mixes every step, `last` only the last of each row;
`step.py` has the form that reads one step at a time, `window.py` the one for long rows.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from habitus.backbones.window import seen_by_last, windowed

if TYPE_CHECKING:
    from habitus.backbones.transformer import Transformer

_SHORTEST_DAYS, _LONGEST_DAYS = 1.0, 30.0  # how far heads look at the start, from the nearest to the farthest


class Attention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017, eq. 1 and section 3.2.2), fading with time on request."""

    def __init__(self, config: Transformer) -> None:
        super().__init__()
        width, self.n_heads = config.hidden_size, config.n_heads
        self.causal, self.window = config.causal, config.window
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
        if self.window is not None and x_BTD.shape[1] - 1 > self.window:
            return self._within_window(q, k, v, days_BT, mask)
        if days_BT is not None and self.causal:
            q, k, v = fading_keys(q, k, v, days_BT, self.log_rate.exp())
        elif days_BT is not None:
            mask = fading_mask(days_BT, days_BT, self.log_rate.exp(), mask)
        return self._joined(self._mixed(q, k, v, mask, is_causal=self.causal))

    def last(
        self,
        x_BTD: Tensor,
        rotation: Tensor | None,
        days_BT: Tensor | None,
        last_B: Tensor,
        mask: Tensor | None,
    ) -> Tensor:
        """Return what the step `last_B` of each row mixes of itself and the steps before it, (B, 1, D).

        One query a row needs no values, and without rotation no keys: both are linear, and stand outside of the sums.

        Args:
            x_BTD, rotation, days_BT: as of `forward`.
            last_B: index of each row's last step.
            mask: bool, True up to the last step (B, 1, 1, T); None if all rows end at T - 1.
        """
        width, heads = x_BTD.shape[-1], (self.n_heads, -1)
        (q_weight, k_weight, v_weight), (q_bias, k_bias, v_bias) = (part.split(width) for part in self.qkv.parameters())
        q_BD = F.linear(at(x_BTD, last_B)[:, 0], q_weight, q_bias)
        if rotation is None:  # q . (W x) = (W^T q) . x; the bias adds as much to all scores, which softmax ignores
            reader_BHD = torch.einsum("bhd,hdw->bhw", q_BD.unflatten(-1, heads), k_weight.unflatten(0, heads))
            scores_BHT = reader_BHD @ x_BTD.transpose(1, 2)
        else:
            rotation = rotation.repeat(1, self.n_heads)
            q_BHd = rotate(q_BD, rotation[last_B]).unflatten(-1, heads)
            k_BTHd = rotate(F.linear(x_BTD, k_weight, k_bias), rotation).unflatten(-1, heads)
            scores_BHT = (k_BTHd.transpose(1, 2) @ q_BHd[..., None])[..., 0]
        scores_BHT = scores_BHT * (width // self.n_heads) ** -0.5
        if self.window is not None:
            mask = seen_by_last(last_B, x_BTD.shape[1], self.window)
        if days_BT is not None:
            scores_BHT = scores_BHT + fading_mask(at(days_BT, last_B), days_BT, self.log_rate.exp(), mask)[:, :, 0]
        elif mask is not None:
            scores_BHT = scores_BHT.masked_fill(~mask[:, :, 0], float("-inf"))
        mixed_BHD = scores_BHT.softmax(-1) @ x_BTD  # shares add up to 1, so that the values are made of this
        mixed_BHd = torch.einsum("bhw,hdw->bhd", mixed_BHD, v_weight.unflatten(0, heads)) + v_bias.unflatten(0, heads)
        out: Tensor = self.out(mixed_BHd.flatten(1))
        return out[:, None]

    def _within_window(self, q: Tensor, k: Tensor, v: Tensor, days_BT: Tensor | None, mask: Tensor | None) -> Tensor:
        """Return `forward` where rows are longer than the window; the leading step of a causal row sees itself."""
        assert self.window is not None
        rate_H = None if days_BT is None else self.log_rate.exp()
        lead = v[:, :, :1]
        if not self.causal:
            bias = mask if days_BT is None else fading_mask(days_BT[:, :1], days_BT, self.log_rate.exp(), mask)
            lead = self._mixed(q[:, :, :1], k, v, bias, is_causal=False)
        with torch.autocast(q.device.type, enabled=False):
            others = windowed(q, k, v, mask, days_BT, rate_H, window=self.window, causal=self.causal)
        return self._joined(torch.cat([lead, others], dim=2))

    def _heads(self, x_BTD: Tensor, days_BT: Tensor | None) -> Tensor:
        """Return (B, H, T, d), a view; in full precision with days, which half cannot tell apart: 1,000 round to 4."""
        x = x_BTD if days_BT is None else x_BTD.float()
        return x.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)

    def _mixed(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, *, is_causal: bool) -> Tensor:
        d = self.out.in_features // self.n_heads  # fading keys are wider
        with torch.autocast(q.device.type, enabled=False):  # in the precision that the heads have
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=is_causal, scale=d**-0.5)
        return mixed[..., :d]

    def _joined(self, mixed: Tensor) -> Tensor:
        """Return the heads (B, H, T, d) side by side, through the last linear layer: (B, T, D)."""
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(-2))
        return out


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
