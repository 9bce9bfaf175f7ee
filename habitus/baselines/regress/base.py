"""What every counting baseline of numbers promises."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from habitus.baselines.base import State
from habitus.baselines.regress.aim import Aim
from habitus.data.encode import EncodedSequences
from habitus.errors import DataError


class NumberBaseline(Protocol):
    """A rival by counting: fitted beside a model, saved in its bundle, shown in every evaluation."""

    name: str

    def fit(
        self, train: EncodedSequences, validation: EncodedSequences, sizes: dict[str, int], aim: Aim
    ) -> NumberBaseline:
        """Learn from `train`, choose strengths on `validation` (which may be empty), return self.

        Args:
            train, validation: encoded rows with targets in their unit, (n,).
            sizes: number of ids of every event and profile category.
            aim: what an answer estimates, and the scale.
        """

    def predict(self, encoded: EncodedSequences) -> np.ndarray:
        """Return answers in the target's unit, float64 (n, Q); quantiles ascend."""

    def to_state(self) -> State:
        """Return tensors and a JSON-able document from which `from_state` restores the same predictions."""

    @classmethod
    def from_state(cls, tensors: dict[str, np.ndarray], document: dict[str, Any]) -> NumberBaseline:
        """Restore a fitted baseline."""


def numbers_of(encoded: EncodedSequences) -> np.ndarray:
    """Return the targets, float64 (n,).

    Raises:
        DataError: if there are none.
    """
    if encoded.target is None:
        raise DataError("These rows have no target, so a baseline cannot learn from them; give examples with a target.")
    return np.asarray(encoded.target, dtype=np.float64)
