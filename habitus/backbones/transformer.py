"""Transformer: pre-norm blocks of attention and feed-forward (Vaswani et al. 2017, arXiv:1706.03762).

Differs from the paper: layer norm stands before each sublayer (Xiong et al. 2020, arXiv:2002.04745), GELU, by default
rotary positions (Su et al. 2021, arXiv:2104.09864, eq. 34), and a learned leading step that every step may attend to
(an attention sink, Xiao et al. 2023, arXiv:2309.17453), without which softmax hides how many events there are.
`time_aware` makes attention fade with the time between two events, each head at its own learned rate (`attention.py`).

A causal network answers in three ways, all with the same states: `forward` (every step), `forward_last` (the last
step of each row; its last block does a fraction of the work) and `start` and `step` (one event at a time).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, cast, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from habitus.backbones.attention import Attention, at, rotations, sinusoidal_positions
from habitus.backbones.dropout import Dropout
from habitus.backbones.pool import Pooling
from habitus.backbones.step import start, step
from habitus.backbones.stream import StreamState
from habitus.config import check_choice
from habitus.data.batch import Batch
from habitus.errors import ConfigError

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
        feedforward_kind: "gelu", or "swiglu" (Shazeer 2020, arXiv:2002.05202, eq. 6; differs from the paper in that
            the width is not cut by a third to make up for the third matrix, and in having biases).
        residual_gate: x + F(x) * sigmoid(W x + b) in place of x + F(x) around each sublayer (LiGR, Borisyuk et al.
            2025, arXiv:2502.03417; differs from the paper in the bias).
        window: each step attends to the latest `window` steps, itself included, and to the leading step; not causal, to
            as many on both sides. None: to all. Time and memory then grow with the length of a row instead of its
            square (`window.py`). What differs from attending to all: a state knows only the latest
            n_layers * (window - 1) + 1 events; when not causal the leading step sees all events and is seen by all, so
            that what lies further away passes through that one state. Rows of at most `window` events are the same.

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
    feedforward_kind: Literal["gelu", "swiglu"] = "gelu"
    residual_gate: bool = False
    window: int | None = None

    def __post_init__(self) -> None:
        for name in ("hidden_size", "n_layers", "n_heads", "feedforward"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)} must be 1 or more.")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout={self.dropout} is a share: 0 or more and below 1.")
        check_choice("position", self.position, ("rotary", "sinusoidal", "learned", "none"))
        check_choice("feedforward_kind", self.feedforward_kind, ("gelu", "swiglu"))
        check_choice("pooling", self.pooling, get_args(Pooling))
        if self.hidden_size % self.n_heads:
            fitting = [n for n in range(1, self.hidden_size + 1) if self.hidden_size % n == 0][:6]
            raise ConfigError(
                f"hidden_size={self.hidden_size} cannot be split into n_heads={self.n_heads}; use n_heads in {fitting} "
                f"or hidden_size={math.ceil(self.hidden_size / self.n_heads) * self.n_heads}."
            )
        if self.position == "rotary" and (self.hidden_size // self.n_heads) % 2:
            raise ConfigError("position='rotary' turns pairs: hidden_size / n_heads must be even.")
        if self.window is not None and self.window < 1:
            raise ConfigError(f"window={self.window} sees no step; use 1 or more, or leave it out to attend to all.")
        if self.pooling == "cls" and self.causal:
            raise ConfigError("pooling='cls' reads the leading step, which sees nothing when causal; use 'last'.")

    @property
    def is_causal(self) -> bool:
        """Whether a state depends on no later step."""
        return self.causal

    def refuse_rows_of(self, max_length: int) -> None:
        """Refuse learned positions that end before the longest row does.

        Raises:
            ConfigError: if they do.
        """
        if self.position == "learned" and max_length > self.max_positions:
            raise ConfigError(
                f"max_length={max_length} is more than there are learned positions, max_positions="
                f"{self.max_positions}; use max_positions={max_length}, max_length={self.max_positions}, or "
                "position='rotary'."
            )

    def build(self) -> TransformerStack:
        """Return the module."""
        return TransformerStack(self)


class Block(nn.Module):
    """x + attention(norm(x)), then x + feed-forward(norm(x))."""

    def __init__(self, config: Transformer) -> None:
        super().__init__()
        width, inner = config.hidden_size, config.feedforward * config.hidden_size
        self.attention_norm, self.feedforward_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(config)
        self.up = nn.Linear(width, inner)
        self.down = nn.Linear(inner, width)
        self.dropout = Dropout(config.dropout)
        self.swish = nn.Linear(width, inner) if config.feedforward_kind == "swiglu" else None
        self.attention_gate = nn.Linear(width, width) if config.residual_gate else None
        self.feedforward_gate = nn.Linear(width, width) if config.residual_gate else None

    def forward(self, x_BTD: Tensor, rotation: Tensor | None, days_BT: Tensor | None, mask: Tensor | None) -> Tensor:
        """Return (B, T, D)."""
        mixed = self.attention(self.attention_norm(x_BTD), rotation, days_BT, mask)
        return self._with_feedforward(self._joined(x_BTD, mixed, self.attention_gate))

    def last(
        self, x_BTD: Tensor, rotation: Tensor | None, days_BT: Tensor | None, last_B: Tensor, mask: Tensor | None
    ) -> Tensor:
        """Return the states of the steps `last_B` alone, (B, 1, D)."""
        mixed = self.attention.last(self.attention_norm(x_BTD), rotation, days_BT, last_B, mask)
        return self._with_feedforward(self._joined(at(x_BTD, last_B), mixed, self.attention_gate))

    def _with_feedforward(self, x: Tensor) -> Tensor:
        normed = self.feedforward_norm(x)
        raised = F.gelu(self.up(normed)) if self.swish is None else F.silu(self.swish(normed)) * self.up(normed)
        return self._joined(x, self.down(raised), self.feedforward_gate)

    def _joined(self, x: Tensor, branch: Tensor, gate: nn.Linear | None) -> Tensor:
        dropped = self.dropout(branch)
        return x + dropped if gate is None else torch.addcmul(x, dropped, gate(x).sigmoid())


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
        x, rotation, days = self._inputs(steps_BTD, batch)
        # causal: padding stands on the right, where no step looks, so that no mask is needed
        needs_mask = batch.has_padding and not self.config.causal
        mask = F.pad(batch.is_step, (1, 0), value=True)[:, None, None, :] if needs_mask else None
        for block in self.blocks:
            x = block(x, rotation, days, mask)
        return self.norm(x if self.config.pooling == "cls" else x[:, 1:])

    def forward_last(self, steps_BTD: Tensor, batch: Batch) -> Tensor:
        """Return the state of the last step of each row, (B, D): what `forward` gives there, with less work."""
        self._require_causal("forward_last")
        x, rotation, days = self._inputs(steps_BTD, batch)
        *blocks, last_block = self.blocks
        for block in blocks:
            x = block(x, rotation, days, None)
        mask = F.pad(batch.is_step, (1, 0), value=True)[:, None, None, :] if batch.has_padding else None
        index = batch.lengths  # of the last step: the leading one stands in front
        return self.norm(cast(Block, last_block).last(x, rotation, days, index, mask)[:, 0])

    def start(self, n_streams: int = 1) -> StreamState:
        """Return the state of streams that have read nothing yet.

        >>> Transformer(hidden_size=8).build().eval().start().n_steps
        0
        """
        self._require_causal("start")
        return start(self, n_streams)

    def step(self, step_BD: Tensor, days_B: Tensor, state: StreamState) -> tuple[Tensor, StreamState]:
        """Read one more event of each stream, on the CPU and without dropout or gradients.

        Args:
            step_BD: step vectors.
            days_B: float64, when the events were, in days since any origin; not before those read so far.
            state: from `start` or the step before.

        Returns:
            The states (B, D) that `forward` gives the event after all those before it, and the state of the stream.
        """
        self._require_positions(state.n_steps + 1)
        return step(self, step_BD, days_B, state)

    def _inputs(self, steps_BTD: Tensor, batch: Batch) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return the steps with the leading one in front, the rotation and the days."""
        config = self.config
        lead = self.lead.expand(len(steps_BTD), 1, -1)
        x = torch.cat([lead, self._with_positions(steps_BTD)], dim=1)
        n_pairs = config.hidden_size // config.n_heads // 2
        rotation = rotations(x.shape[1], n_pairs, x.device) if config.position == "rotary" else None
        days = F.pad(-batch.age_days.clamp_max(_OLDEST_DAYS), (1, 0)) if config.time_aware else None
        return x, rotation, days

    def _with_positions(self, x_BTD: Tensor) -> Tensor:
        n_steps, width = x_BTD.shape[1:]
        if self.config.position == "sinusoidal":
            return x_BTD + sinusoidal_positions(n_steps, width).to(x_BTD)
        self._require_positions(n_steps)
        if self.config.position == "learned":
            return x_BTD + self.positions.weight[:n_steps]
        return x_BTD

    def _require_positions(self, n_steps: int) -> None:
        if self.config.position == "learned" and n_steps > self.config.max_positions:
            raise ConfigError(
                f"A row of {n_steps} steps exceeds max_positions={self.config.max_positions}, the table of learned "
                f"positions; use max_positions={n_steps}, a smaller max_length, or position='rotary', which has no end."
            )

    def _require_causal(self, what: str) -> None:
        if not self.config.causal:
            raise ConfigError(f"{what} needs states that see no later step: use Transformer(causal=True).")
