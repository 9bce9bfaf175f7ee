"""What backbones share that may also read both ways: their last states and streams exist in one direction alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from habitus.data.batch import Batch
from habitus.errors import ConfigError


class OneWay(nn.Module):
    """Step states of a configuration that says whether it is `bidirectional`."""

    config: Any

    def forward_last(self, steps_BTD: Tensor, batch: Batch) -> Tensor:
        """Return the state of the last step of each row, (B, D)."""
        self.require_one_way("forward_last")
        states: Tensor = self(steps_BTD, batch)
        return states[torch.arange(len(states), device=states.device), batch.lengths - 1]

    def require_one_way(self, what: str) -> None:
        """Refuse what needs states that see no later step.

        Raises:
            ConfigError: if this network sees them.
        """
        if self.config.bidirectional:
            name = type(self.config).__name__
            raise ConfigError(f"{what} needs states that see no later step: use {name}(bidirectional=False).")
