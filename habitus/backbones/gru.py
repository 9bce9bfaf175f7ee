"""GRU: gated recurrent unit over the steps (Cho et al. 2014, arXiv:1406.1078, eq. 5-8, as torch computes it).

Padding stands on the right, so it changes nothing before it; the backward direction of a bidirectional GRU
reads each row reversed within its own length, by an index, so that it starts at the last event.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor, nn

from habitus.backbones.dropout import Dropout
from habitus.backbones.pool import Pooling
from habitus.backbones.stream import StreamState
from habitus.config import check_choice
from habitus.data.batch import Batch
from habitus.errors import ConfigError

_CELL_WEIGHTS = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")


@dataclass(frozen=True)
class GRU:
    """Configure a GRU backbone.

    Args:
        hidden_size: width of the states, D.
        n_layers: stacked layers.
        dropout: on step vectors and between layers.
        bidirectional: read the history both ways (each way with half the width).
        pooling: how step states become one state.

    >>> GRU(hidden_size=32).n_layers
    1
    """

    hidden_size: int = 64
    n_layers: int = 1
    dropout: float = 0.1
    bidirectional: bool = False
    pooling: Pooling = "count"

    def __post_init__(self) -> None:
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout={self.dropout} is a share: 0 or more and below 1.")
        check_choice("pooling", self.pooling, get_args(Pooling))
        if self.hidden_size < 1 or self.n_layers < 1:
            raise ConfigError(f"hidden_size={self.hidden_size}, n_layers={self.n_layers}: both must be 1 or more.")
        if self.bidirectional and self.hidden_size % 2:
            raise ConfigError(f"hidden_size={self.hidden_size} cannot be halved for two directions; use an even one.")
        if self.pooling == "cls":
            raise ConfigError("pooling='cls' needs a Transformer; a GRU pools by last, mean, max or attention.")

    @property
    def is_causal(self) -> bool:
        """Whether a state depends on no later step."""
        return not self.bidirectional

    def build(self) -> GRUStack:
        """Return the module."""
        return GRUStack(self)


class GRUStack(nn.Module):
    """The network of a `GRU`: step vectors (B, T, D) -> step states (B, T, D)."""

    def __init__(self, config: GRU) -> None:
        super().__init__()
        self.config = config
        directions = 2 if config.bidirectional else 1
        width, out = config.hidden_size, config.hidden_size // directions
        self.forward_layers = nn.ModuleList(nn.GRU(width, out, batch_first=True) for _ in range(config.n_layers))
        self.backward_layers = nn.ModuleList(
            nn.GRU(width, out, batch_first=True) for _ in range(config.n_layers if config.bidirectional else 0)
        )
        self.dropout = Dropout(config.dropout)

    def forward(self, steps_BTD: Tensor, batch: Batch) -> Tensor:
        """Return step states (B, T, D)."""
        states = steps_BTD
        for number, layer in enumerate(self.forward_layers):
            states = self.dropout(states) if number else states
            ahead = layer(states)[0]
            if self.backward_layers:
                index = _reversing_index(batch.lengths, states.shape[1])[..., None]
                back = self.backward_layers[number](states.gather(1, index.expand_as(states)))[0]
                ahead = torch.cat([ahead, back.gather(1, index.expand_as(back))], dim=-1)
            states = ahead
        return states

    def forward_last(self, steps_BTD: Tensor, batch: Batch) -> Tensor:
        """Return the state of the last step of each row, (B, D)."""
        self._require_one_way("forward_last")
        states = self(steps_BTD, batch)
        return states[torch.arange(len(states), device=states.device), batch.lengths - 1]

    @torch.no_grad()
    def start(self, n_streams: int = 1) -> StreamState:
        """Return the state of streams that have read nothing yet.

        >>> GRU(hidden_size=8).build().eval().start().n_steps
        0
        """
        self._require_one_way("start")
        shape = (len(self.forward_layers), n_streams, self.config.hidden_size)
        return StreamState(0, hidden=next(self.parameters()).new_zeros(shape))

    @torch.no_grad()
    def step(self, step_BD: Tensor, days_B: Tensor | None, state: StreamState) -> tuple[Tensor, StreamState]:
        """Read one more event of each stream, without dropout or gradients.

        Args:
            step_BD: step vectors.
            days_B: not read; there because a Transformer reads it.
            state: from `start` or the step before.

        Returns:
            The states (B, D) that `forward` gives the event after all those before it, and the state of the stream.
        """
        assert state.hidden is not None, "a state of another backbone"
        hidden, answer = [], step_BD
        for number, layer in enumerate(self.forward_layers):
            # the cell of nn.GRU with its weights; the layer itself takes several times as long for one step
            weights = [getattr(layer, name) for name in _CELL_WEIGHTS]
            answer = torch.gru_cell(answer, state.hidden[number], *weights)
            hidden.append(answer)
        return answer, StreamState(state.n_steps + 1, hidden=torch.stack(hidden))

    def _require_one_way(self, what: str) -> None:
        if self.config.bidirectional:
            raise ConfigError(f"{what} needs states that see no later step: use GRU(bidirectional=False).")


def _reversing_index(lengths_B: Tensor, n_steps: int) -> Tensor:
    """Return (B, T) positions that reverse each row within its length and leave padding in place."""
    steps = torch.arange(n_steps, device=lengths_B.device).expand(len(lengths_B), -1)
    last = lengths_B[:, None] - 1
    return torch.where(steps <= last, last - steps, steps)
