"""The rival that looks at nothing: one number for everybody, the best one for the loss."""

from __future__ import annotations

from typing import Any

import numpy as np

from habitus.baselines.base import State
from habitus.baselines.regress.aim import Aim
from habitus.baselines.regress.base import numbers_of
from habitus.data.encode import EncodedSequences


class Constant:
    """Give everybody the mean of the training targets (squared error), their median, or their quantiles.

    Its R2 is about 0: a model must beat that.

    >>> Constant().name
    'constant'
    """

    name = "constant"

    def fit(self, train: EncodedSequences, validation: EncodedSequences, sizes: dict[str, int], aim: Aim) -> Constant:
        """Average the targets of `train`; the rest is not looked at."""
        target = numbers_of(train)
        squared = aim.loss == "squared"
        self.answer_ = target.mean(keepdims=True) if squared else np.quantile(target, aim.levels or (0.5,))
        return self

    def predict(self, encoded: EncodedSequences) -> np.ndarray:
        """Return the same answer for every row, (n, Q)."""
        return np.tile(self.answer_, (len(encoded), 1))

    def to_state(self) -> State:
        """Return the answer."""
        return {"answer": self.answer_}, {}

    @classmethod
    def from_state(cls, tensors: dict[str, np.ndarray], document: dict[str, Any]) -> Constant:
        """Restore a fitted baseline."""
        baseline = cls()
        baseline.answer_ = np.asarray(tensors["answer"])
        return baseline
