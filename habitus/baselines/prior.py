"""The rival that looks at nothing: the share of each class among the training examples."""

from __future__ import annotations

from typing import Any

import numpy as np

from habitus.baselines.base import State, target_of
from habitus.data.encode import EncodedSequences


class MostFrequent:
    """Give everybody the class shares of the training examples.

    Its AUC is .5 and its accuracy the share of the commonest class: a model must beat both.

    >>> MostFrequent().name
    'most frequent'
    """

    name = "most frequent"

    def fit(
        self,
        train: EncodedSequences,
        validation: EncodedSequences,
        sizes: dict[str, int],
        n_classes: int,
        multi_label: bool = False,
    ) -> MostFrequent:
        """Count the classes of `train`; the rest is not looked at."""
        target = target_of(train, n_classes, multi_label)
        known = ~np.isnan(target)
        self.shares_ = np.where(known, target, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        return self

    def predict_proba(self, encoded: EncodedSequences) -> np.ndarray:
        """Return the same shares for every row, (n, C)."""
        return np.tile(self.shares_, (len(encoded), 1))

    def to_state(self) -> State:
        """Return the shares."""
        return {"shares": self.shares_}, {}

    @classmethod
    def from_state(cls, tensors: dict[str, np.ndarray], document: dict[str, Any]) -> MostFrequent:
        """Restore a fitted baseline."""
        baseline = cls()
        baseline.shares_ = np.asarray(tensors["shares"])
        return baseline
