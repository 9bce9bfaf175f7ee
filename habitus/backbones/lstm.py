"""LSTM: long short-term memory (Hochreiter and Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735) with a forget gate
(Gers et al. 2000, doi:10.1162/089976600300015015), as torch computes it:

    c = sigmoid(f) * c + sigmoid(i) * tanh(g),  h = sigmoid(o) * tanh(c);  i, f, g, o = W x + U h + b

Differs from the papers: no peepholes, gradients through all steps, and the forget gate starts with a bias of 1, so that
a fresh network remembers (Jozefowicz et al. 2015, https://proceedings.mlr.press/v37/jozefowicz15.html).
The shared part of recurrent backbones is in `recurrent.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from habitus.backbones.recurrent import Recurrent, RecurrentStack, cell_weights
from habitus.backbones.stream import StreamState

_FORGET_BIAS = 1.0


@dataclass(frozen=True)
class LSTM(Recurrent):
    """Configure an LSTM backbone.

    Args:
        hidden_size: width of the states, D.
        n_layers: stacked layers.
        dropout: on step vectors and between layers.
        bidirectional: read the history both ways (each way with half the width).
        pooling: how step states become one state.

    >>> LSTM(hidden_size=32).n_layers
    1
    """

    def build(self) -> LSTMStack:
        """Return the module."""
        return LSTMStack(self)


class LSTMStack(RecurrentStack):
    """The network of an `LSTM`; a stream of it keeps hidden states and cells.

    >>> LSTM(hidden_size=8).build().eval().start().cell.shape
    torch.Size([1, 1, 8])
    """

    def __init__(self, config: LSTM) -> None:
        super().__init__(config, nn.LSTM)
        for layer in (*self.forward_layers, *self.backward_layers):
            _remember(layer)

    def start(self, n_streams: int = 1) -> StreamState:
        """Return the state of streams that have read nothing yet."""
        hidden = super().start(n_streams).hidden
        assert hidden is not None
        return StreamState(0, hidden=hidden, cell=hidden.clone())

    def _advanced(self, step_BD: Tensor, state: StreamState) -> StreamState:
        assert state.hidden is not None and state.cell is not None, "a state of another backbone"
        hidden, cells, below = [], [], step_BD
        for number, layer in enumerate(self.forward_layers):
            below, cell = torch.lstm_cell(below, (state.hidden[number], state.cell[number]), *cell_weights(layer))
            hidden.append(below)
            cells.append(cell)
        return StreamState(state.n_steps + 1, hidden=torch.stack(hidden), cell=torch.stack(cells))


@torch.no_grad()
def _remember(layer: nn.Module) -> None:
    """Set the forget gate's bias: torch adds two, and has the gates in the order input, forget, cell, output."""
    _, weight_hh, *biases = cell_weights(layer)
    width = weight_hh.shape[1]
    for bias, value in zip(biases, (_FORGET_BIAS, 0.0), strict=True):
        bias[width : 2 * width] = value
