"""Transformer: pre-norm blocks of attention and feed-forward (Vaswani et al. 2017, arXiv:1706.03762).

Differs from the paper: layer norm stands before each sublayer (Xiong et al. 2020, arXiv:2002.04745), GELU, by default
rotary positions (Su et al. 2021, arXiv:2104.09864, eq. 34), and a learned leading step that every step may attend to
(an attention sink, Xiao et al. 2023, arXiv:2309.17453), without which softmax hides how many events there are.

`time_aware` makes attention fade with the time between two events, each head at its own learned rate: the linear
bias of ALiBi (Press et al. 2021, arXiv:2108.12409, section 3) on days instead of on positions. Attention runs
through `scaled_dot_product_attention`; see `_fading_keys` for why the causal form needs no mask.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from habitus.backbones.dropout import Dropout
from habitus.backbones.pool import Pooling
from habitus.config import check_choice
from habitus.data.batch import Batch
from habitus.errors import ConfigError

_SHORTEST_DAYS, _LONGEST_DAYS = 1.0, 30.0  # how far heads look at the start, from the nearest to the farthest
_OLDEST_DAYS = 3650.0


@dataclass(frozen=True)
class Transformer:
    """Configure a Transformer backbone.

    Args:
        hidden_size: width of the states, D.
        n_layers: blocks.
        n_heads: attention heads; divides `hidden_size`.
        feedforward: width of the feed-forward layer as a multiple of `hidden_size`.
        dropout: on step vectors, attention output and feed-forward output.
        position: how order enters: "rotary", "sinusoidal" (section 3.5 of the paper), "learned" or "none".
        time_aware: attention fades with the days between events, at a learned rate a head.
        causal: a state sees no later step.
        pooling: how step states become one state.
        max_positions: size of the table of learned positions.

    >>> Transformer(n_layers=1, hidden_size=32).n_heads
    4
    """

    hidden_size: int = 64
    n_layers: int = 2
    n_heads: int = 4
    feedforward: int = 2
    dropout: float = 0.1
    position: Literal["rotary", "sinusoidal", "learned", "none"] = "rotary"
    time_aware: bool = True
    causal: bool = True
    pooling: Pooling = "count"
    max_positions: int = 1024

    def __post_init__(self) -> None:
        for name in ("hidden_size", "n_layers", "n_heads", "feedforward"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)} must be 1 or more.")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout={self.dropout} is a share: 0 or more and below 1.")
        check_choice("position", self.position, ("rotary", "sinusoidal", "learned", "none"))
        check_choice("pooling", self.pooling, get_args(Pooling))
        if self.hidden_size % self.n_heads:
            fitting = [n for n in range(1, self.hidden_size + 1) if self.hidden_size % n == 0][:6]
            raise ConfigError(
                f"hidden_size={self.hidden_size} cannot be split into n_heads={self.n_heads}; use n_heads in {fitting} "
                f"or hidden_size={math.ceil(self.hidden_size / self.n_heads) * self.n_heads}."
            )
        if self.position == "rotary" and (self.hidden_size // self.n_heads) % 2:
            raise ConfigError("position='rotary' turns pairs: hidden_size / n_heads must be even.")
        if self.pooling == "cls" and self.causal:
            raise ConfigError("pooling='cls' reads the leading step, which sees nothing when causal; use 'last'.")

    @property
    def is_causal(self) -> bool:
        """Whether a state depends on no later step."""
        return self.causal

    def build(self) -> TransformerStack:
        """Return the module."""
        return TransformerStack(self)


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
            rotation: of rotary positions, or None.
            days_BT: when each step was, in days, if attention fades with time.
            mask: bool, True where a step may be seen (B, 1, 1, T); None where padding needs none.
        """
        B, T, D = x_BTD.shape
        d = D // self.n_heads
        q, k, v = self.qkv(x_BTD).view(B, T, 3, self.n_heads, d).permute(2, 0, 3, 1, 4)  # each (B, H, T, d)
        if rotation is not None:
            q, k = rotate(q, rotation), rotate(k, rotation)
        if days_BT is not None:  # half precision cannot tell days apart: 1,000 days are rounded to 4
            q, k, v = q.float(), k.float(), v.float()
        if days_BT is not None and self.causal:
            q, k, v = _fading_keys(q, k, v, days_BT, self.log_rate.exp())
        elif days_BT is not None:
            mask = _fading_mask(days_BT, self.log_rate.exp(), mask)
        with torch.autocast(
            x_BTD.device.type, enabled=torch.is_autocast_enabled(x_BTD.device.type) and days_BT is None
        ):
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=self.causal, scale=d**-0.5)
        return self.out(mixed[..., :d].transpose(1, 2).reshape(B, T, D))


def _fading_keys(q: Tensor, k: Tensor, v: Tensor, days_BT: Tensor, rate_H: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Add -rate * (days_i - days_j) to the score of steps i >= j, and nothing to the leading step's, with no mask.

    Softmax ignores what is equal along a row, so that adding rate * days_j to event scores and rate * days_i to the
    leading step's score gives the same weights: two more dimensions of queries and keys. v is widened to match.
    """
    B, H, T, d = q.shape
    is_lead = torch.zeros(T, device=q.device, dtype=q.dtype)
    is_lead[0] = 1.0
    scaled_rate = (rate_H * d**0.5)[:, None]  # SDPA divides by sqrt(d)
    days = days_BT[:, None, :]  # (B, 1, T)
    more_q = torch.stack([scaled_rate.expand(B, H, T), scaled_rate * days], dim=-1)
    more_k = torch.stack([days * (1 - is_lead), is_lead.expand(B, 1, T)], dim=-1).expand(B, H, T, 2)
    return torch.cat([q, more_q], -1), torch.cat([k, more_k], -1), F.pad(v, (0, 2))


def _fading_mask(days_BT: Tensor, rate_H: Tensor, mask: Tensor | None) -> Tensor:
    """Return -rate * |days_i - days_j| as a mask (B, H, T, T); the leading step does not fade, padding is -inf."""
    apart_BTT = (days_BT[:, :, None] - days_BT[:, None, :]).abs()
    apart_BTT[:, :, 0] = 0.0
    bias = -rate_H[:, None, None] * apart_BTT[:, None]
    return bias if mask is None else bias.masked_fill(~mask, float("-inf"))


class Block(nn.Module):
    """x + attention(norm(x)), then x + feed-forward(norm(x))."""

    def __init__(self, config: Transformer) -> None:
        super().__init__()
        width = config.hidden_size
        self.attention_norm, self.feedforward_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(config)
        self.up = nn.Linear(width, config.feedforward * width)
        self.down = nn.Linear(config.feedforward * width, width)
        self.dropout = Dropout(config.dropout)

    def forward(self, x_BTD: Tensor, rotation: Tensor | None, days_BT: Tensor | None, mask: Tensor | None) -> Tensor:
        """Return (B, T, D)."""
        x_BTD = x_BTD + self.dropout(self.attention(self.attention_norm(x_BTD), rotation, days_BT, mask))
        return x_BTD + self.dropout(self.down(F.gelu(self.up(self.feedforward_norm(x_BTD)))))


class TransformerStack(nn.Module):
    """The network of a `Transformer`: step vectors (B, T, D) -> step states (B, T, D).

    With pooling "cls" the state of the leading step stays in front, and T grows by one.
    """

    def __init__(self, config: Transformer) -> None:
        super().__init__()
        self.config = config
        self.lead = nn.Parameter(torch.zeros(config.hidden_size))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.norm = nn.LayerNorm(config.hidden_size)
        if config.position == "learned":
            self.positions = nn.Embedding(config.max_positions, config.hidden_size)
            nn.init.normal_(self.positions.weight, std=0.02)

    def forward(self, steps_BTD: Tensor, batch: Batch) -> Tensor:
        """Return step states (B, T, D), or (B, 1 + T, D) with pooling "cls"."""
        config = self.config
        x = torch.cat([self.lead.expand(len(steps_BTD), 1, -1), self._with_positions(steps_BTD)], dim=1)
        rotation = self._rotation(x) if config.position == "rotary" else None
        days = F.pad(-batch.age_days.clamp_max(_OLDEST_DAYS), (1, 0)) if config.time_aware else None
        # causal: padding stands on the right, where no step looks, so that no mask is needed
        needs_mask = batch.has_padding and not config.causal
        mask = F.pad(batch.is_step, (1, 0), value=True)[:, None, None, :] if needs_mask else None
        for block in self.blocks:
            x = block(x, rotation, days, mask)
        return self.norm(x if config.pooling == "cls" else x[:, 1:])

    def _with_positions(self, x_BTD: Tensor) -> Tensor:
        n_steps, width = x_BTD.shape[1:]
        if self.config.position == "sinusoidal":
            return x_BTD + sinusoidal_positions(n_steps, width).to(x_BTD)
        if self.config.position == "learned":
            if n_steps > self.config.max_positions:
                raise ConfigError(
                    f"A row of {n_steps} steps exceeds max_positions={self.config.max_positions}; raise it."
                )
            return x_BTD + self.positions.weight[:n_steps]
        return x_BTD

    def _rotation(self, x_BTD: Tensor) -> Tensor:
        """Return complex rotations (T, d/2)."""
        n_pairs = self.config.hidden_size // self.config.n_heads // 2
        pair = torch.arange(n_pairs, device=x_BTD.device, dtype=torch.float32) / n_pairs
        index = torch.arange(x_BTD.shape[1], device=x_BTD.device, dtype=torch.float32)
        angles = index[:, None] * 10_000.0**-pair
        return torch.polar(torch.ones_like(angles), angles)


def rotate(x_BHTd: Tensor, rotation: Tensor) -> Tensor:
    """Turn neighbouring pairs of the last dimension by the given angles (Su et al. 2021, eq. 34)."""
    pairs = torch.view_as_complex(x_BHTd.float().reshape(*x_BHTd.shape[:-1], -1, 2))
    return torch.view_as_real(pairs * rotation).flatten(-2).to(x_BHTd.dtype)


def sinusoidal_positions(n_steps: int, width: int) -> Tensor:
    """Return the positions of Vaswani et al. 2017, section 3.5: sin on even, cos on odd columns, (T, D).

    >>> sinusoidal_positions(2, 4)[0].tolist()
    [0.0, 1.0, 0.0, 1.0]
    """
    rate = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
    angle = torch.arange(n_steps)[:, None] * rate
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)[:, :width]
