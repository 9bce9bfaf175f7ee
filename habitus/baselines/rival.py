"""What a rival must be: something that counts, remembers or extrapolates, judged beside the networks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np


class Rival(ABC):
    """A rival of a task whose data carries its own answers; `rows` are those of the task."""

    name: ClassVar[str]

    @abstractmethod
    def fit(self, train_rows: Any, validation_rows: Any) -> Self:
        """Learn from the training units; choose on the validation units."""

    @abstractmethod
    def answer(self, rows: Any) -> Any:
        """Answer as the model does."""

    @abstractmethod
    def to_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return arrays and plain data for the bundle."""

    @classmethod
    @abstractmethod
    def from_state(cls, arrays: Mapping[str, np.ndarray], document: Mapping[str, Any]) -> Self:
        """Build from `to_state`."""
