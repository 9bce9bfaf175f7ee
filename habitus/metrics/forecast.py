"""Judge forecasts of many origins: MASE, sMAPE, MSE, MAE, CRPS and coverage, and paired differences of them.

    mse, mae           on the scale of the training part, (y - mean) / standard deviation, as published tables have them
    mse_own, mae_own   in the own unit of the values
    mase               mean of |y - f| / (mean |y_t - y_{t-m}| of the training part), m one season (Hyndman & Koehler
                       2006, https://doi.org/10.1016/j.ijforecast.2006.03.001)
    smape              mean of 200 |y - f| / (|y| + |f|) in percent (Makridakis 1993); 0 where both are 0
    crps               2 * mean pinball loss over the quantiles, on the scale of the training part (Gneiting & Ranjan
                       2011, https://doi.org/10.1198/jbes.2010.08110); without quantiles it is the absolute error
    coverage_80        share of values within the 10 % and the 90 % quantile

A value that is NaN is not counted. Intervals are by a moving-block bootstrap (Künsch 1989; circular, Politis & Romano
1992) over the origins of each series, because neighbouring origins share targets; with many series the series are drawn
instead. Knows nothing about models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from habitus.data.series.forecasts import Answer, Truth
from habitus.errors import DataError
from habitus.metrics.intervals import Interval, bootstrap_interval

MANY_SERIES = 20  # from here on series are drawn
METRICS = ("mase", "mse", "mae", "crps", "smape", "coverage_80", "mse_own", "mae_own")
_CHUNK = 256  # origins at once


def forecast_metrics(
    truth: Truth, answer: Answer, *, n_bootstrap: int = 500, seed: int = 0, confidence: float = 0.95
) -> dict[str, Interval]:
    """Return all metrics with their intervals; one without a value on these origins is undefined.

    >>> values = np.array([[[1.0], [3.0]]])
    >>> truth = Truth(values, np.zeros((1, 1)), np.full((1, 1), 2.0), np.ones((1, 1)), np.zeros(1, int))
    >>> found = forecast_metrics(truth, Answer(np.array([[[1.0], [2.0]]])))
    >>> [round(found[name].value, 3) for name in ("mase", "mse", "mae", "smape", "mae_own")]
    [0.5, 0.125, 0.25, 20.0, 0.5]
    """
    sums, counts = _sums(truth, answer)
    weights = _weights(truth, n_bootstrap, seed)
    return {
        name: _interval(sums[name], counts[name], weights, confidence) if counts[name].any() else Interval.undefined()
        for name in METRICS
    }


def forecast_differences(
    truth: Truth, answer: Answer, other: Answer, *, n_bootstrap: int = 500, seed: int = 0, confidence: float = 0.95
) -> dict[str, Interval]:
    """Return answer minus other, paired: on the origins, steps and variables that both answered."""
    both = ~(np.isnan(answer.point) | np.isnan(other.point))
    shared = Truth(np.where(both, truth.values, np.nan), *_rest(truth))
    weights = _weights(truth, n_bootstrap, seed)
    (mine, counts), (others, other_counts) = _sums(shared, answer), _sums(shared, other)
    found = {}
    for name in METRICS:
        if not (counts[name].any() and other_counts[name].any()):
            found[name] = Interval.undefined()
            continue
        value = mine[name].sum() / counts[name].sum() - others[name].sum() / other_counts[name].sum()
        draws = _ratios(mine[name], counts[name], weights) - _ratios(others[name], other_counts[name], weights)
        found[name] = bootstrap_interval(float(value), draws, confidence)
    return found


def errors_by_step(truth: Truth, answer: Answer) -> np.ndarray:
    """Return the mean absolute error of each step of the horizon on the scale of the training part, (K,)."""
    error = np.abs(answer.point - truth.values) / truth.scale[:, None]
    seen = ~np.isnan(error)
    return np.asarray(np.where(seen, error, 0).sum(axis=(0, 2)) / np.maximum(seen.sum(axis=(0, 2)), 1))


def n_answered(truth: Truth, answer: Answer) -> int:
    """Return how many origins have an answer that can be judged."""
    return int((~np.isnan(answer.point) & ~np.isnan(truth.values)).any(axis=(1, 2)).sum())


def _rest(truth: Truth) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]:
    return truth.center, truth.scale, truth.naive, truth.series, truth.block


def _sums(truth: Truth, answer: Answer) -> tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]]:
    """Return the sum and the number of each metric's terms by origin, (n,) each."""
    n = len(truth)
    if answer.point.shape != truth.values.shape:
        raise DataError(f"The answer has shape {answer.point.shape}, the truth {truth.values.shape}; they must agree.")
    sums = {name: np.zeros(n) for name in METRICS}
    counts = {name: np.zeros(n) for name in METRICS}
    for start in range(0, n, _CHUNK):
        rows = slice(start, start + _CHUNK)
        for name, term in _terms(truth, answer, rows).items():
            seen = ~np.isnan(term)
            sums[name][rows] = np.where(seen, term, 0).sum(axis=(1, 2))
            counts[name][rows] = seen.sum(axis=(1, 2))
    return sums, counts


def _terms(truth: Truth, answer: Answer, rows: slice) -> dict[str, np.ndarray]:
    """Return each metric's terms, (b, K, V), NaN where there is none."""
    y, f, scale = truth.values[rows], answer.point[rows].astype(np.float64), truth.scale[rows][:, None]
    error = np.abs(y - f)
    size = np.abs(y) + np.abs(f)
    terms = {
        "mse_own": error**2,
        "mae_own": error,
        "mse": (error / scale) ** 2,
        "mae": error / scale,
        "mase": error / truth.naive[rows][:, None],
        "smape": np.where(size == 0, error, 200 * error / np.where(size == 0, 1, size)),
        "crps": error / scale,
    }
    if answer.quantiles is None:
        return terms
    q = answer.quantiles[rows].astype(np.float64)
    levels = np.array(answer.levels)
    over = y[..., None] - q
    terms["crps"] = 2 * np.maximum(levels * over, (levels - 1) * over).mean(axis=-1) / scale
    low, high = (_level(answer.levels, level) for level in (0.1, 0.9))
    if low is not None and high is not None:
        inside = (y >= q[..., low]) & (y <= q[..., high])
        terms["coverage_80"] = np.where(np.isnan(error), np.nan, inside)
    return terms


def _level(levels: Sequence[float], wanted: float) -> int | None:
    return next((i for i, level in enumerate(levels) if abs(level - wanted) < 1e-9), None)


def _weights(truth: Truth, n_bootstrap: int, seed: int) -> np.ndarray:
    """Return how often each origin is drawn, float32 (b, n)."""
    rng = np.random.default_rng(seed)
    n = len(truth)
    _, first, number, sizes = np.unique(truth.series, return_index=True, return_inverse=True, return_counts=True)
    if len(sizes) >= MANY_SERIES:
        drawn = rng.integers(0, len(sizes), (n_bootstrap, len(sizes)))
        drawn += np.arange(n_bootstrap)[:, None] * len(sizes)
        times = np.bincount(drawn.ravel(), minlength=n_bootstrap * len(sizes)).reshape(n_bootstrap, len(sizes))
        return times[:, number].astype(np.float32)
    weights = np.zeros((n_bootstrap, n), np.float32)
    for begin, size in zip(first, sizes, strict=True):
        weights[:, begin : begin + size] = _block_weights(rng, n_bootstrap, int(size), truth.block)
    return weights


def _block_weights(rng: np.random.Generator, n_bootstrap: int, n: int, block: int) -> np.ndarray:
    """Return how often each of n neighbours is in blocks drawn around a circle, (b, n).

    A block is at most a third of them, because fewer blocks than three say nothing of the spread.
    """
    block = max(1, min(block, n // 3))
    n_blocks = max(1, round(n / block))
    starts = rng.integers(0, n, (n_bootstrap, n_blocks)) + np.arange(n_bootstrap)[:, None] * n
    begins = np.bincount(starts.ravel(), minlength=n_bootstrap * n).reshape(n_bootstrap, n)
    around = np.cumsum(np.concatenate([begins[:, n - block + 1 :], begins], axis=1), axis=1)
    before = np.concatenate([np.zeros((n_bootstrap, 1), int), around], axis=1)
    return np.asarray(around[:, block - 1 :] - before[:, :n])


def _interval(sums: np.ndarray, counts: np.ndarray, weights: np.ndarray, confidence: float) -> Interval:
    return bootstrap_interval(float(sums.sum() / counts.sum()), _ratios(sums, counts, weights), confidence)


def _ratios(sums: np.ndarray, counts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the metric on each resample, NaN where it holds no term, (b,)."""
    total = weights @ counts
    return np.asarray(np.divide(weights @ sums, total, out=np.full(len(weights), np.nan), where=total > 0))
