"""What a task is: target, head, loss, decoding, default metrics.

The training loop and the model know tasks only through this interface, so that a new task is one new file.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import polars as pl
from torch import Tensor, nn

from habitus.metrics import Interval


class Task(ABC):
    """What is predicted from a sequence.

    A task is configured by its constructor and learns what it must know of the target in `fit_target`.
    """

    name: ClassVar[str]
    monitor: ClassVar[str]  # validation metric that chooses the best epoch; higher is better

    @property
    @abstractmethod
    def target(self) -> str | Sequence[str]:
        """Column (or columns) of the examples table to predict."""

    @property
    @abstractmethod
    def n_outputs(self) -> int:
        """Width of the head."""

    @abstractmethod
    def fit_target(self, values: pl.DataFrame) -> None:
        """Learn from the target columns of the training examples (classes, weights, scale)."""

    @abstractmethod
    def encode_target(self, values: pl.DataFrame) -> np.ndarray:
        """Return what the loss reads, (n, ...)."""

    @abstractmethod
    def build_head(self, width: int) -> nn.Module:
        """Return the module from the pooled state (B, width) to outputs (B, n_outputs)."""

    @abstractmethod
    def loss(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each row, (B,)."""

    @abstractmethod
    def decode(self, outputs: np.ndarray) -> np.ndarray:
        """Return probabilities (or other answers) of raw outputs (n, n_outputs)."""

    @abstractmethod
    def metrics(self, target: np.ndarray, answer: np.ndarray, *, n_bootstrap: int = 500) -> Mapping[str, Interval]:
        """Return the default metrics of decoded answers, each with its interval."""

    @abstractmethod
    def monitor_value(self, target: np.ndarray, answer: np.ndarray) -> float:
        """Return the metric that chooses the best epoch; higher is better."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Return plain data for the bundle: options and what was learned."""
