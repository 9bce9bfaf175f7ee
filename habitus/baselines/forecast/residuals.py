"""Quantiles around a point forecast: those of its own errors in training, for each step and variable.

A rival without a distribution gets one that way, so that CRPS and coverage compare forecasts of one kind. Errors are
on the scale of each series' training part and shared by all series.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from habitus.data.series.forecasts import DECILES, Answer
from habitus.data.series.rows import Origins

_MOST = 1_000  # origins whose errors are kept
_CHUNK = 512

Points = Callable[[Origins], np.ndarray]


def spread(rows: Origins, points: Points) -> np.ndarray:
    """Return the deciles of the errors of point forecasts on the scale of the training part, float32 (K, V, Q).

    Args:
        rows: training origins; at most 1,000 of them are read, evenly spread.
        points: gives (n, K, V) in the own unit.
    """
    some = rows.take(np.unique(np.linspace(0, len(rows) - 1, _MOST).round().astype(np.int64)))
    error = (some.targets() - points(some)) / some.scale[:, None]
    known = ~np.isnan(error).all(axis=0)
    deciles = np.zeros((len(DECILES), *known.shape))
    deciles[:, known] = np.nanquantile(error[:, known], DECILES, axis=0)
    return np.ascontiguousarray(np.moveaxis(deciles, 0, -1), dtype=np.float32)


def with_quantiles(rows: Origins, points: Points, deciles_KVQ: np.ndarray) -> Answer:
    """Return point forecasts with quantiles around them."""
    n, shape = len(rows), (rows.horizon, len(rows.table.variables))
    point = np.empty((n, *shape), np.float32)
    for start in range(0, n, _CHUNK):
        point[start : start + _CHUNK] = points(rows.take(np.arange(start, min(start + _CHUNK, n))))
    quantiles = point[..., None] + deciles_KVQ * rows.scale[:, None, :, None].astype(np.float32)
    return Answer(point, quantiles, DECILES)
