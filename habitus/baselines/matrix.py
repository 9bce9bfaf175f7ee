"""The bag of events as a matrix: for a linear model (all counts, everything on one scale) and for trees (as it is).

Which columns there are is fixed at fit. Knows nothing about targets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from habitus.baselines.bag import BagFeatures
from habitus.data.encode import EncodedSequences
from habitus.errors import require


@dataclass(frozen=True)
class LinearMatrix:
    """log(1 + count) of every value, beside standardised aggregates.

    Args:
        features: which columns there are.
        center, scale: mean and deviation of each aggregate, in training.
    """

    features: BagFeatures
    center: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, features: BagFeatures, train: EncodedSequences) -> LinearMatrix:
        """Learn the scale of the aggregates from training rows."""
        aggregates = features.aggregates(train)[1]
        scale = aggregates.std(axis=0)
        return cls(features, aggregates.mean(axis=0), np.where(scale > 1e-9, scale, 1.0))

    def of(self, encoded: EncodedSequences) -> Any:
        """Return scipy CSR float64 (n, F)."""
        sparse = require("scipy.sparse", "baselines")
        counts, (_, aggregates) = self.features.counts(encoded), self.features.aggregates(encoded)
        counts.data = np.log1p(counts.data)
        return sparse.hstack([counts, sparse.csr_matrix((aggregates - self.center) / self.scale)], format="csr")


@dataclass(frozen=True)
class TreeMatrix:
    """Counts of the commonest values of each field, beside aggregates.

    Args:
        features: which columns there are.
        kept: columns of the counts, ascending.
    """

    features: BagFeatures
    kept: np.ndarray

    @classmethod
    def fit(cls, features: BagFeatures, train: EncodedSequences, max_counts: int) -> TreeMatrix:
        """Keep the `max_counts` commonest values of each field."""
        total, first, kept = np.asarray(features.counts(train).sum(axis=0)).ravel(), 0, []
        for size in features.fields.values():
            order = np.argsort(-total[first : first + size], kind="stable")[:max_counts] + first
            kept.append(np.sort(order[total[order] > 0]))
            first += size
        return cls(features, np.concatenate(kept).astype(np.int64) if kept else np.zeros(0, np.int64))

    def of(self, encoded: EncodedSequences) -> Any:
        """Return scipy CSR float64 (n, F)."""
        sparse = require("scipy.sparse", "baselines")
        counts = self.features.counts(encoded)[:, self.kept]
        return sparse.hstack([counts, sparse.csr_matrix(self.features.aggregates(encoded)[1])], format="csr")
