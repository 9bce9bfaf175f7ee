"""Encoder-decoder: a sequence in, a sequence out; the decoder looks at all states of the encoder by attention.

Two forms, one interface (`EncoderDecoderStack`): recurrent with a bidirectional encoder
(`encoder_decoder_recurrent.py`: Bahdanau et al. 2015, arXiv:1409.0473; Luong et al. 2015, arXiv:1508.04025) and a
Transformer (`encoder_decoder_transformer.py`: Vaswani et al. 2017, arXiv:1706.03762).

`forward` runs over known targets (teacher forcing); `start` and `step` write one token at a time from a state that
keeps what was computed, with the same states. Padding of the source is masked. Embeddings and the last linear layer
come from outside: step vectors in, step states out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

import torch
from torch import Tensor, nn

from habitus.backbones.transformer import Transformer
from habitus.config import check_choice
from habitus.errors import ConfigError

Kind = Literal["transformer", "lstm", "gru", "rnn"]


@dataclass(frozen=True)
class EncoderDecoder:
    """Configure an encoder-decoder.

    Args:
        kind: "transformer", "lstm", "gru" or "rnn".
        hidden_size: width of the states, D.
        n_layers: layers of the encoder, and of the decoder.
        n_heads: attention heads of a Transformer; divides `hidden_size`.
        feedforward: width of a Transformer's feed-forward layers as a multiple of `hidden_size`.
        dropout: on step vectors, between layers and, in a Transformer, on the output of each sublayer.
        attention: of the recurrent kinds: "dot" (Luong et al. 2015) or "additive" (Bahdanau et al. 2015), which must
            run token by token in training too: a quarter slower on sentences of ten tokens, more on longer ones.
        position: how order enters a Transformer: "rotary", "sinusoidal" or "none".

    >>> EncoderDecoder(kind="lstm", attention="additive").label
    'LSTM encoder-decoder, additive attention'
    """

    kind: Kind = "transformer"
    hidden_size: int = 128
    n_layers: int = 2
    n_heads: int = 4
    feedforward: int = 4
    dropout: float = 0.1
    attention: Literal["dot", "additive"] = "dot"
    position: Literal["rotary", "sinusoidal", "none"] = "rotary"

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, ("transformer", "lstm", "gru", "rnn"))
        check_choice("attention", self.attention, ("dot", "additive"))
        if self.kind != "transformer" and self.hidden_size % 2:
            raise ConfigError(f"hidden_size={self.hidden_size} cannot be halved for two directions; use an even one.")
        self.blocks(causal=False)  # refuses what no block could be built from

    @property
    def label(self) -> str:
        """How tables call it."""
        if self.kind == "transformer":
            return "Transformer encoder-decoder"
        return f"{self.kind.upper()} encoder-decoder, {self.attention} attention"

    def blocks(self, *, causal: bool) -> Transformer:
        """Return the options of a Transformer's blocks."""
        is_transformer = self.kind == "transformer"
        return Transformer(
            hidden_size=self.hidden_size,
            n_layers=self.n_layers,
            n_heads=self.n_heads if is_transformer else 1,
            feedforward=self.feedforward,
            dropout=self.dropout,
            position=self.position if is_transformer else "none",
            time_aware=False,
            causal=causal,
        )

    def build(self) -> EncoderDecoderStack:
        """Return the module."""
        from habitus.backbones.encoder_decoder_recurrent import RecurrentEncoderDecoder
        from habitus.backbones.encoder_decoder_transformer import TransformerEncoderDecoder

        return (TransformerEncoderDecoder if self.kind == "transformer" else RecurrentEncoderDecoder)(self)


@dataclass(frozen=True)
class Encoded:
    """What the encoder made of a batch of sources.

    Args:
        states_BTD: a state for each source step.
        is_step_BT: bool, False on padding; None where there is none.
    """

    states_BTD: Tensor
    is_step_BT: Tensor | None

    @classmethod
    def of(cls, states_BTD: Tensor, lengths_B: Tensor) -> Encoded:
        """Build, with a mask only where there is padding."""
        return cls(states_BTD, is_step(lengths_B, states_BTD.shape[1]))

    @property
    def mask(self) -> Tensor | None:
        """Return which steps may be seen by any head and query, bool (B, 1, 1, T)."""
        return None if self.is_step_BT is None else self.is_step_BT[:, None, None, :]


@dataclass(frozen=True)
class DecoderState:
    """Everything a decoder knows of B answers so far; a step returns a new one.

    Args:
        n_steps: tokens read.
        source: what the kind keeps of the sources; the first dimension is the row.
        own: what it keeps of the answers, likewise.
    """

    n_steps: int
    source: tuple[Tensor | None, ...]
    own: tuple[Tensor | None, ...]

    def take(self, rows: Tensor) -> Self:
        """Return the states of these rows, in this order; a row may come more than once."""
        return replace(self, source=_taken(self.source, rows), own=_taken(self.own, rows))

    def reorder(self, rows: Tensor) -> Self:
        """Return `take` where each row is replaced by one of the same source, which is then left as it is."""
        return replace(self, own=_taken(self.own, rows))


class EncoderDecoderStack(nn.Module, ABC):
    """The network of an `EncoderDecoder`."""

    def forward(self, source_BTD: Tensor, lengths_B: Tensor, target_BQD: Tensor) -> Tensor:
        """Return the decoder's states (B, Q, D).

        Args:
            source_BTD: step vectors of the sources.
            lengths_B: of the sources, at least 1; what stands after them changes nothing.
            target_BQD: step vectors of the targets, moved one step to the right: step q has read those before it.
        """
        return self.decode(target_BQD, self.encode(source_BTD, lengths_B))

    @abstractmethod
    def encode(self, source_BTD: Tensor, lengths_B: Tensor) -> Encoded:
        """Read the sources."""

    @abstractmethod
    def decode(self, target_BQD: Tensor, encoded: Encoded) -> Tensor:
        """Return the states (B, Q, D) of known targets."""

    @abstractmethod
    def start(self, encoded: Encoded) -> DecoderState:
        """Return the state of answers of which nothing is written yet."""

    @abstractmethod
    def step(self, step_BD: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """Read one more token of each answer; return the states (B, D) that `decode` gives there, and what is known."""

    @abstractmethod
    def alignment(self, target_BQD: Tensor, encoded: Encoded) -> Tensor:
        """Return how much each target step looks at each source step, (B, Q, T); rows sum to 1."""


def _taken(tensors: tuple[Tensor | None, ...], rows: Tensor) -> tuple[Tensor | None, ...]:
    return tuple(None if one is None else one[rows] for one in tensors)


def is_step(lengths_B: Tensor, n_steps: int) -> Tensor | None:
    """Return which slots are steps, bool (B, T), or None where all are.

    >>> is_step(torch.tensor([2, 1]), 2).tolist()
    [[True, True], [True, False]]
    """
    if bool((lengths_B == n_steps).all()):
        return None
    return torch.arange(n_steps, device=lengths_B.device) < lengths_B[:, None]


def mean_weights(weights: Sequence[Tensor]) -> Tensor:
    """Return the mean of attention weights (B, H, Q, T) over layers and heads, (B, Q, T)."""
    return torch.stack([one.mean(dim=1) for one in weights]).mean(dim=0)
