"""GRU: gated recurrent unit over the steps (Cho et al. 2014, arXiv:1406.1078, eq. 5-8, as torch computes it).

Differs from the paper: the reset gate acts on what the recurrent weights give, not on what they are given (eq. 8), so
that a step multiplies once with all recurrent weights. The shared part of recurrent backbones is in `recurrent.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from habitus.backbones.recurrent import Recurrent, RecurrentStack, cell_weights
from habitus.backbones.stream import StreamState


@dataclass(frozen=True)
class GRU(Recurrent):
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

    def build(self) -> GRUStack:
        """Return the module."""
        return GRUStack(self)


class GRUStack(RecurrentStack):
    """The network of a `GRU`.

    >>> GRU(hidden_size=8).build().eval().start().n_steps
    0
    """

    def __init__(self, config: GRU) -> None:
        super().__init__(config, nn.GRU)

    def _advanced(self, step_BD: Tensor, state: StreamState) -> StreamState:
        assert state.hidden is not None, "a state of another backbone"
        hidden, below = [], step_BD
        for number, layer in enumerate(self.forward_layers):
            below = torch.gru_cell(below, state.hidden[number], *cell_weights(layer))
            hidden.append(below)
        return StreamState(state.n_steps + 1, hidden=torch.stack(hidden))
