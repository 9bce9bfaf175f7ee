"""The recurrent form of `EncoderDecoder`: a bidirectional encoder, a decoder that attends to all its states.

    attention "dot"       h_q = cell(y_{q-1}, h_{q-1});  score = h_q . s_t                          Luong et al., eq. 8
    attention "additive"  score = v . tanh(W h_{q-1} + U s_t);  h_q = cell([y_{q-1}; c_q], h_{q-1})  Bahdanau et al.
    both                  a = softmax(scores), c_q = sum_t a_t s_t, answer = tanh(W [c_q; h_q])     Luong et al., eq. 5

Luong et al. 2015, arXiv:1508.04025; differs in feeding no answer back as an input (section 3.3), which lets the cells
of a whole target run at once. Bahdanau et al. 2015, arXiv:1409.0473, appendix A; differs in the cell (any kind, any
number of layers), in a linear layer that brings [y; c] to the width of the states, and in eq. 5 above in place of
maxout. The decoder starts from tanh(W [last forward state; first backward state]).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from habitus.backbones.dropout import Dropout
from habitus.backbones.encoder_decoder import DecoderState, Encoded, EncoderDecoder, EncoderDecoderStack
from habitus.backbones.gru import GRU
from habitus.backbones.lstm import LSTM
from habitus.backbones.recurrent import RecurrentStack, cell_weights
from habitus.backbones.rnn import RNN

_CELLS: dict[str, Callable[..., Any]] = {
    "lstm": torch.lstm_cell,
    "gru": torch.gru_cell,
    "rnn": torch.rnn_tanh_cell,
}


class Additive(nn.Module):
    """Score source steps by v . tanh(W h + U s) (Bahdanau et al. 2015, appendix A.1.2).

    Args:
        width: of states, D.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.of_state = nn.Linear(width, width, bias=False)
        self.of_source = nn.Linear(width, width)
        self.score = nn.Linear(width, 1, bias=False)

    def forward(self, state_BD: Tensor, projected_BTD: Tensor) -> Tensor:
        """Return scores (B, T); `projected_BTD` is `of_source` of the source's states, made once."""
        return self.score(torch.tanh(self.of_state(state_BD)[:, None] + projected_BTD))[..., 0]


class RecurrentEncoderDecoder(EncoderDecoderStack):
    """The network of `EncoderDecoder(kind="lstm" | "gru" | "rnn")`."""

    def __init__(self, config: EncoderDecoder) -> None:
        super().__init__()
        self.config = config
        width = config.hidden_size
        self.encoder = _stack(config, bidirectional=True)
        self.decoder = _stack(config, bidirectional=False)
        self.n_states = 2 if config.kind == "lstm" else 1  # hidden, and the cell of an LSTM
        self.bridge = nn.Linear(width, self.n_states * config.n_layers * width)
        self.answer = nn.Linear(2 * width, width)
        self.dropout = Dropout(config.dropout)
        self.additive = Additive(width) if config.attention == "additive" else None
        self.joined = nn.Linear(2 * width, width) if config.attention == "additive" else None

    def encode(self, source_BTD: Tensor, lengths_B: Tensor) -> Encoded:
        """Read the sources both ways."""
        return Encoded.of(self.encoder.read(source_BTD, lengths_B), lengths_B)

    def decode(self, target_BQD: Tensor, encoded: Encoded) -> Tensor:
        """Return the states (B, Q, D) of known targets."""
        return self._decoded(target_BQD, encoded)[0]

    @torch.no_grad()
    def alignment(self, target_BQD: Tensor, encoded: Encoded) -> Tensor:
        """Return the weights of attention, (B, Q, T)."""
        return self._decoded(target_BQD, encoded)[1]

    def start(self, encoded: Encoded) -> DecoderState:
        """Return the first state of the decoder beside the source's states."""
        projected = None if self.additive is None else self.additive.of_source(encoded.states_BTD)
        source = (encoded.states_BTD, encoded.is_step_BT, projected)
        return DecoderState(0, source, tuple(self._first_states(encoded)))

    def step(self, step_BD: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """Read one more token of each answer."""
        answer_BD, _, after = self._advanced(step_BD, state)
        return answer_BD, after

    def _decoded(self, target_BQD: Tensor, encoded: Encoded) -> tuple[Tensor, Tensor]:
        """Return states (B, Q, D) and weights (B, Q, T) of known targets."""
        if self.additive is None:
            return self._at_once(target_BQD, encoded)
        state, answers, weights = self.start(encoded), [], []
        for step_BD in target_BQD.unbind(dim=1):
            answer_BD, weights_BT, state = self._advanced(step_BD, state)
            answers.append(answer_BD)
            weights.append(weights_BT)
        return torch.stack(answers, dim=1), torch.stack(weights, dim=1)

    def _at_once(self, target_BQD: Tensor, encoded: Encoded) -> tuple[Tensor, Tensor]:
        """Run the cells over whole targets, then attend: dot attention reads no context into the cells."""
        states, first = target_BQD, self._first_states(encoded)
        n_layers = self.config.n_layers
        for number, layer in enumerate(self.decoder.forward_layers):
            states = self.dropout(states) if number else states
            of_layer = [first[number + n_layers * i][None].contiguous() for i in range(self.n_states)]
            states = layer(states, tuple(of_layer) if self.n_states == 2 else of_layer[0])[0]
        scores_BQT = states @ encoded.states_BTD.transpose(1, 2)
        mask = None if encoded.is_step_BT is None else encoded.is_step_BT[:, None]
        weights_BQT = _softmax(scores_BQT, mask)
        return self._answered(weights_BQT @ encoded.states_BTD, states), weights_BQT

    def _advanced(self, step_BD: Tensor, state: DecoderState) -> tuple[Tensor, Tensor, DecoderState]:
        """Return the answer (B, D), the weights (B, T) and the state after one more token."""
        (source_BTD, is_step_BT, projected_BTD), kept = state.source, list(state.own)
        assert source_BTD is not None, "of every state"
        n_layers = self.config.n_layers
        if self.additive is not None and self.joined is not None:
            scores_BT = self.additive(kept[n_layers - 1], projected_BTD)
            weights_BT = _softmax(scores_BT, is_step_BT)
            context_BD = _mixed(weights_BT, source_BTD)
            after = self._cells(self.joined(torch.cat([step_BD, context_BD], dim=-1)), kept)
        else:
            after = self._cells(step_BD, kept)
            weights_BT = _softmax(_scores(after[n_layers - 1], source_BTD), is_step_BT)
            context_BD = _mixed(weights_BT, source_BTD)
        answer_BD = self._answered(context_BD, after[n_layers - 1])
        return answer_BD, weights_BT, DecoderState(state.n_steps + 1, state.source, tuple(after))

    def _cells(self, below_BD: Tensor, kept: list[Any]) -> list[Tensor]:
        """Return the states after one more step: hidden of each layer, then the cells of an LSTM."""
        cell, n_layers = _CELLS[self.config.kind], self.config.n_layers
        hidden: list[Tensor] = []
        cells: list[Tensor] = []
        for number, layer in enumerate(self.decoder.forward_layers):
            below_BD = self.dropout(below_BD) if number else below_BD
            if self.n_states == 2:
                below_BD, memory = cell(below_BD, (kept[number], kept[n_layers + number]), *cell_weights(layer))
                cells.append(memory)
            else:
                below_BD = cell(below_BD, kept[number], *cell_weights(layer))
            hidden.append(below_BD)
        return [*hidden, *cells]

    def _first_states(self, encoded: Encoded) -> list[Tensor]:
        """Return what the decoder starts from, of each layer, (B, D) each."""
        states, half = encoded.states_BTD, self.config.hidden_size // 2
        if encoded.is_step_BT is None:
            ahead = states[:, -1, :half]
        else:
            last = encoded.is_step_BT.sum(dim=1) - 1
            ahead = states[torch.arange(len(states), device=states.device), last, :half]
        summary = torch.cat([ahead, states[:, 0, half:]], dim=-1)
        return list(torch.tanh(self.bridge(summary)).chunk(self.n_states * self.config.n_layers, dim=-1))

    def _answered(self, context: Tensor, states: Tensor) -> Tensor:
        return self.dropout(torch.tanh(self.answer(torch.cat([context, states], dim=-1))))


def _stack(config: EncoderDecoder, *, bidirectional: bool) -> RecurrentStack:
    kind = {"lstm": LSTM, "gru": GRU, "rnn": RNN}[config.kind]
    return kind(config.hidden_size, config.n_layers, config.dropout, bidirectional=bidirectional).build()  # type: ignore[attr-defined]


def _softmax(scores: Tensor, mask: Tensor | None) -> Tensor:
    """Return weights over source steps; those that `mask` does not allow have exactly none."""
    return (scores if mask is None else scores.masked_fill(~mask, float("-inf"))).softmax(dim=-1)


def _scores(state_BD: Tensor, source_BTD: Tensor) -> Tensor:
    return (source_BTD @ state_BD[:, :, None])[..., 0]


def _mixed(weights_BT: Tensor, source_BTD: Tensor) -> Tensor:
    return (weights_BT[:, None] @ source_BTD)[:, 0]
