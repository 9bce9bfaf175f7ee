"""What `RNN`, `LSTM` and `GRU` share: their options, the stack of layers, and reading one event at a time.

Padding stands on the right, so it changes nothing before it; the backward direction of a bidirectional network
reads each row reversed within its own length, by an index, so that it starts at the last event. What a cell computes
and how it starts is in the file of its backbone: a `Recurrent` and a `RecurrentStack` that says `_advanced`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor, nn

from habitus.backbones.dropout import Dropout
from habitus.backbones.one_way import OneWay
from habitus.backbones.pool import Pooling
from habitus.backbones.stream import StreamState
from habitus.config import check_choice
from habitus.data.batch import Batch
from habitus.errors import ConfigError

_CELL_WEIGHTS = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")


@dataclass(frozen=True)
class Recurrent:
    """The options of every recurrent backbone; see `GRU` for what they mean."""

    hidden_size: int = 64
    n_layers: int = 1
    dropout: float = 0.1
    bidirectional: bool = False
    pooling: Pooling = "count"

    def __post_init__(self) -> None:
        name = type(self).__name__
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout={self.dropout} is a share: 0 or more and below 1.")
        check_choice("pooling", self.pooling, get_args(Pooling))
        if self.hidden_size < 1 or self.n_layers < 1:
            raise ConfigError(f"hidden_size={self.hidden_size}, n_layers={self.n_layers}: both must be 1 or more.")
        if self.bidirectional and self.hidden_size % 2:
            raise ConfigError(f"hidden_size={self.hidden_size} cannot be halved for two directions; use an even one.")
        if self.pooling == "cls":
            raise ConfigError(
                f"pooling='cls' needs a Transformer; {name} pools by mean, count, max, parts, attention or last."
            )

    @property
    def is_causal(self) -> bool:
        """Whether a state depends on no later step."""
        return not self.bidirectional


class RecurrentStack(OneWay, ABC):
    """Layers of a recurrent cell: step vectors (B, T, D) -> step states (B, T, D).

    Args:
        config: the options.
        kind: torch's layer of the cell.
    """

    def __init__(self, config: Recurrent, kind: Callable[..., nn.RNNBase]) -> None:
        super().__init__()
        self.config = config
        self.forward_layers = nn.ModuleList(_layers(config, kind, config.n_layers))
        self.backward_layers = nn.ModuleList(_layers(config, kind, config.n_layers if config.bidirectional else 0))
        self.dropout = Dropout(config.dropout)

    def forward(self, steps_BTD: Tensor, batch: Batch) -> Tensor:
        """Return step states (B, T, D)."""
        return self.read(steps_BTD, batch.lengths)

    def read(self, steps_BTD: Tensor, lengths_B: Tensor) -> Tensor:
        """Return step states (B, T, D) of rows of these lengths."""
        states = steps_BTD
        for number, layer in enumerate(self.forward_layers):
            states = self.dropout(states) if number else states
            ahead = layer(states)[0]
            if self.backward_layers:
                index = _reversing_index(lengths_B, states.shape[1])[..., None]
                back = self.backward_layers[number](states.gather(1, index.expand_as(states)))[0]
                ahead = torch.cat([ahead, back.gather(1, index.expand_as(back))], dim=-1)
            states = ahead
        return states

    @torch.no_grad()
    def start(self, n_streams: int = 1) -> StreamState:
        """Return the state of streams that have read nothing yet."""
        self.require_one_way("start")
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
        after = self._advanced(step_BD, state)
        assert after.hidden is not None and after.n_steps == state.n_steps + 1
        return after.hidden[-1], after

    @abstractmethod
    def _advanced(self, step_BD: Tensor, state: StreamState) -> StreamState:
        """Return the state after one more event of each stream."""


def cell_weights(layer: nn.Module) -> list[Tensor]:
    """Return a layer's weights as torch's cells take them; the layer itself takes several times as long for one step.

    >>> [tuple(weight.shape) for weight in cell_weights(nn.RNN(3, 2))]
    [(2, 3), (2, 2), (2,), (2,)]
    """
    return [getattr(layer, name) for name in _CELL_WEIGHTS]


def _layers(config: Recurrent, kind: Callable[..., nn.RNNBase], n_layers: int) -> list[nn.RNNBase]:
    """Return the layers one by one: the dropout between them is our own, and so is reading a row backwards."""
    width, directions = config.hidden_size, 2 if config.bidirectional else 1
    return [kind(width, width // directions, batch_first=True) for _ in range(n_layers)]


def _reversing_index(lengths_B: Tensor, n_steps: int) -> Tensor:
    """Return (B, T) positions that reverse each row within its length and leave padding in place."""
    steps = torch.arange(n_steps, device=lengths_B.device).expand(len(lengths_B), -1)
    last = lengths_B[:, None] - 1
    return torch.where(steps <= last, last - steps, steps)
