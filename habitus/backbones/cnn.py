"""CNN: convolutions over the steps, each layer twice as far as the one below (Bai et al. 2018, arXiv:1803.01271).

    steps (T, D) --+--> norm --> convolution of `kernel_size` steps, 2**layer apart --> GELU --> linear --+--> ...
                   +--------------------------------------------------------------------------------------+

A state knows its neighbourhood and no more: `reach` steps, 13 with two layers and kernels of 5. That is less than a
recurrent network may know, and where few rows are there, as in recordings of a few voices, less to learn by heart.
Differs from the paper: one convolution a block, layer norm before it in place of weight norm, a linear layer after
it, GELU; with `bidirectional` a state sees as many steps after it as before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from habitus.backbones.dropout import Dropout
from habitus.backbones.one_way import OneWay
from habitus.backbones.pool import Pooling
from habitus.backbones.stream import StreamState
from habitus.config import check_choice
from habitus.data.batch import Batch
from habitus.errors import ConfigError


@dataclass(frozen=True)
class CNN:
    """Configure a convolutional backbone.

    Args:
        hidden_size: width of the states, D.
        n_layers: convolutions, one on the other; the second sees every second step, the third every fourth. 0: none,
            the step vectors are the states, for sound, whose frames have been through convolutions before.
        kernel_size: steps that one convolution reads.
        dropout: on step vectors and in each layer.
        bidirectional: read steps on both sides, not only before.
        pooling: how step states become one state.

    >>> CNN(n_layers=3, kernel_size=3).reach
    15
    """

    hidden_size: int = 64
    n_layers: int = 2
    kernel_size: int = 5
    dropout: float = 0.1
    bidirectional: bool = False
    pooling: Pooling = "count"

    def __post_init__(self) -> None:
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout={self.dropout} is a share: 0 or more and below 1.")
        check_choice("pooling", self.pooling, get_args(Pooling))
        if min(self.hidden_size, self.n_layers + 1, self.kernel_size) < 1:
            sizes = f"hidden_size={self.hidden_size}, n_layers={self.n_layers}, kernel_size={self.kernel_size}"
            raise ConfigError(f"{sizes}: each must be 1 or more (n_layers 0 or more).")
        if self.bidirectional and self.kernel_size % 2 == 0:
            raise ConfigError(f"kernel_size={self.kernel_size} has no middle for two directions; use an odd one.")
        if self.pooling == "cls":
            raise ConfigError(
                "pooling='cls' needs a Transformer; CNN pools by mean, count, max, parts, attention or last."
            )

    @property
    def is_causal(self) -> bool:
        """Whether a state depends on no later step."""
        return not self.bidirectional

    @property
    def reach(self) -> int:
        """Steps that a state knows of, its own among them."""
        return 1 + (self.kernel_size - 1) * (2**self.n_layers - 1)

    def build(self) -> ConvolutionStack:
        """Return the module."""
        return ConvolutionStack(self)


class ConvolutionBlock(nn.Module):
    """What one layer adds to the states, (B, T, D).

    Args:
        config: the options.
        apart: steps from one tap of the convolution to the next.
    """

    def __init__(self, config: CNN, apart: int) -> None:
        super().__init__()
        width, self.behind = config.hidden_size, apart * (config.kernel_size - 1)
        self.ahead = self.behind // 2 if config.bidirectional else 0
        self.norm = nn.LayerNorm(width)
        self.near = nn.Conv1d(width, width, config.kernel_size, dilation=apart)
        self.mix = nn.Linear(width, width)
        self.dropout = Dropout(config.dropout)

    def forward(self, states_BTD: Tensor, is_step_BT: Tensor) -> Tensor:
        """Return what is added; steps outside the row count as 0."""
        normed = self.norm(states_BTD)
        if self.ahead:  # padding stands on the right, where only a network that looks ahead sees it
            normed = normed.masked_fill(~is_step_BT[..., None], 0.0)
        around = F.pad(normed.transpose(1, 2), (self.behind - self.ahead, self.ahead))
        return self._mixed(self.near(around).transpose(1, 2))

    def one(self, states_BD: Tensor, before_RBD: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is added to one more step, (B, D), and the normed steps that the next one reads, (R, B, D)."""
        known = torch.cat([before_RBD, self.norm(states_BD)[None]])
        taps_BDK = known[:: self.near.dilation[0]].permute(1, 2, 0)
        return self._mixed(F.conv1d(taps_BDK, self.near.weight, self.near.bias)[..., 0]), known[1:]

    def _mixed(self, near: Tensor) -> Tensor:
        return self.dropout(self.mix(F.gelu(near)))


class ConvolutionStack(OneWay):
    """The network of a `CNN`: step vectors (B, T, D) -> step states (B, T, D).

    >>> CNN(hidden_size=8).build().eval().start().n_steps
    0
    """

    def __init__(self, config: CNN) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(ConvolutionBlock(config, 2**number) for number in range(config.n_layers))
        self.norm = nn.LayerNorm(config.hidden_size) if config.n_layers else nn.Identity()

    def forward(self, steps_BTD: Tensor, batch: Batch) -> Tensor:
        """Return step states (B, T, D)."""
        states = steps_BTD
        for layer in self.layers:
            states = states + layer(states, batch.is_step)
        return self.norm(states)

    @torch.no_grad()
    def start(self, n_streams: int = 1) -> StreamState:
        """Return the state of streams that have read nothing yet: the steps before the first count as 0."""
        self.require_one_way("start")
        shape = (self.config.reach - 1, n_streams, self.config.hidden_size)
        some = next(self.parameters(), torch.zeros(0))  # a network without layers has none
        return StreamState(0, hidden=some.new_zeros(shape))

    @torch.no_grad()
    def step(self, step_BD: Tensor, days_B: Tensor | None, state: StreamState) -> tuple[Tensor, StreamState]:
        """Read one more event of each stream, without dropout or gradients.

        Args:
            step_BD: step vectors.
            days_B: not read; there because a Transformer reads it.
            state: from `start` or the step before; it holds the steps that each layer still reads, oldest first.

        Returns:
            The states (B, D) that `forward` gives the event after all those before it, and the state of the stream.
        """
        assert state.hidden is not None, "a state of another backbone"
        x, kept = step_BD, []
        for layer, before in zip(self.layers, state.hidden.split([one.behind for one in self.layers]), strict=True):
            assert isinstance(layer, ConvolutionBlock)
            added, after = layer.one(x, before)
            x = x + added
            kept.append(after)
        return self.norm(x), StreamState(state.n_steps + 1, hidden=torch.cat(kept) if kept else state.hidden)
