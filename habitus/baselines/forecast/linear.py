"""A straight line from the context to the horizon, by least squares with a ridge: one matrix for all series.

What DLinear learns by gradient descent (Zeng et al. 2023, arXiv:2205.13504; the decomposition into trend and rest is
linear itself) has a closed form, see Toner & Darlow 2024, arXiv:2403.14587. Each window is centred by its own mean,
on the scale of the training part. The strength of the ridge is chosen on validation. Knows no calendar.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from habitus.baselines.forecast.residuals import spread, with_quantiles
from habitus.baselines.rival import Rival
from habitus.data.series.forecasts import Answer
from habitus.data.series.rows import Origins

_STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # times the mean of the diagonal of the context's covariance
_MOST_WINDOWS = 20_000  # origins from which the line is learned
_MOST_CHOOSING = 1_000
_CHUNK = 256


class Linear(Rival):
    """Least squares from context to horizon.

    >>> Linear.name
    'linear'
    """

    name: ClassVar[str] = "linear"
    weights_: np.ndarray
    deciles_: np.ndarray

    def fit(self, train_rows: Origins, validation_rows: Origins) -> Self:
        """Solve for the weights; choose the ridge on validation."""
        self.weights_ = ridge(train_rows, validation_rows)
        self.deciles_ = spread(train_rows, self.points)
        return self

    def points(self, rows: Origins) -> np.ndarray:
        """Return the forecasts in the own unit, float64 (n, K, V)."""
        found = predicted(rows, self.weights_)
        return np.asarray(found * rows.scale[:, None] + rows.center[:, None])

    def answer(self, rows: Origins) -> Answer:
        """Return the forecasts, with quantiles of their errors in training."""
        return with_quantiles(rows, self.points, self.deciles_)

    def to_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return the weights and the errors' quantiles."""
        return {"weights": self.weights_, "deciles": self.deciles_}, {}

    @classmethod
    def from_state(cls, arrays: Mapping[str, np.ndarray], document: Mapping[str, Any]) -> Self:
        """Build from `to_state`."""
        rival = cls()
        rival.weights_, rival.deciles_ = np.asarray(arrays["weights"]), np.asarray(arrays["deciles"])
        return rival


def ridge(train_rows: Origins, validation_rows: Origins) -> np.ndarray:
    """Return weights from the centred context to the centred horizon, float32 (T, K), the ridge chosen on validation.

    At most 20,000 windows are read, evenly spread. A missing target is read filled from its past, as a context is.
    """
    gram, cross = _moments(_some(train_rows, _MOST_WINDOWS))
    choosing = _some(validation_rows, _MOST_CHOOSING)
    truth = (choosing.targets() - choosing.center[:, None]) / choosing.scale[:, None]
    size = np.trace(gram) / len(gram) or 1.0
    best, best_error = np.zeros(cross.shape, np.float32), np.inf
    for strength in _STRENGTHS:
        weights = np.linalg.solve(gram + strength * size * np.eye(len(gram)), cross)
        weights = np.ascontiguousarray(weights, dtype=np.float32)
        error = float(np.nanmean((predicted(choosing, weights) - truth) ** 2))
        if error < best_error:
            best, best_error = weights, error
    return best


def predicted(rows: Origins, weights_TK: np.ndarray) -> np.ndarray:
    """Return forecasts on the scale of the training part, float32 (n, K, V)."""
    context = rows.contexts()
    mean = _own_mean(rows, context)
    return np.asarray(np.einsum("ntv,tk->nkv", context - mean, weights_TK, optimize=True) + mean)


def _own_mean(rows: Origins, context_NTV: np.ndarray) -> np.ndarray:
    """Return the mean of each window over steps that the log has, (n, 1, V), as the network takes it out."""
    places, begun = rows.context_steps()
    seen = rows.table.seen[places] & begun[..., None]
    total = np.where(seen, context_NTV, 0).sum(axis=1, keepdims=True, dtype=np.float64)
    return np.asarray(total / np.maximum(seen.sum(axis=1, keepdims=True), 1), dtype=np.float32)


def _moments(rows: Origins) -> tuple[np.ndarray, np.ndarray]:
    """Return sums of products of contexts, (T, T), and of contexts with targets, (T, K), float64."""
    gram, cross = np.zeros((rows.context, rows.context)), np.zeros((rows.context, rows.horizon))
    for start in range(0, len(rows), _CHUNK):
        some = rows.take(np.arange(start, min(start + _CHUNK, len(rows))))
        context = some.contexts()
        mean = _own_mean(some, context)
        target = some.filled[some.target_steps()] - mean
        flat = (context - mean).transpose(0, 2, 1).reshape(-1, rows.context)
        gram += flat.T @ flat
        cross += flat.T @ target.transpose(0, 2, 1).reshape(-1, rows.horizon)
    return gram, cross


def _some(rows: Origins, most: int) -> Origins:
    return rows.take(np.unique(np.linspace(0, len(rows) - 1, most).round().astype(np.int64)))
