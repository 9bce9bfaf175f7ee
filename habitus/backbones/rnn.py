"""RNN: the plain recurrent network, h = tanh(W x + U h + b) (Elman 1990, doi:10.1207/s15516709cog1402_1).

Differs from the paper: recurrent weights start orthogonal, so that what was read neither grows nor fades before there
is anything to learn (Saxe et al. 2014, arXiv:1312.6120), and gradients go through all steps. The yardstick of gated
cells: without gates it learns little from events long past (Bengio et al. 1994, doi:10.1109/72.279181).
The shared part of recurrent backbones is in `recurrent.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from habitus.backbones.recurrent import Recurrent, RecurrentStack, cell_weights
from habitus.backbones.stream import StreamState


@dataclass(frozen=True)
class RNN(Recurrent):
    """Configure a plain recurrent backbone.

    Args:
        hidden_size: width of the states, D.
        n_layers: stacked layers.
        dropout: on step vectors and between layers.
        bidirectional: read the history both ways (each way with half the width).
        pooling: how step states become one state.

    >>> RNN(hidden_size=32).n_layers
    1
    """

    def build(self) -> RNNStack:
        """Return the module."""
        return RNNStack(self)


class RNNStack(RecurrentStack):
    """The network of an `RNN`.

    >>> RNN(hidden_size=8).build().eval().start().n_steps
    0
    """

    def __init__(self, config: RNN) -> None:
        super().__init__(config, nn.RNN)
        for layer in (*self.forward_layers, *self.backward_layers):
            nn.init.orthogonal_(layer.weight_hh_l0)

    def _advanced(self, step_BD: Tensor, state: StreamState) -> StreamState:
        assert state.hidden is not None, "a state of another backbone"
        hidden, below = [], step_BD
        for number, layer in enumerate(self.forward_layers):
            below = torch.rnn_tanh_cell(below, state.hidden[number], *cell_weights(layer))
            hidden.append(below)
        return StreamState(state.n_steps + 1, hidden=torch.stack(hidden))
