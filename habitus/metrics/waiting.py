"""Judge predictions of the time until the next event: how far off in days, and how well the density fits.

The mean absolute error stands beside that of one constant, the median gap of training, which is the best that
can be said without looking at a history; their difference is taken on the same resamples. All intervals come from
one bootstrap over rows, so several rows of one entity make them too narrow. Knows nothing about models.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from habitus.errors import DataError
from habitus.metrics.intervals import Floats, Interval, bootstrap_interval, normal_quantile, resamples


def time_metrics(
    target_days: ArrayLike,
    predicted_days: ArrayLike,
    log_likelihood: ArrayLike | None,
    baseline_median: float,
    *,
    n_bootstrap: int = 500,
    seed: int = 0,
    confidence: float = 0.95,
) -> dict[str, Interval]:
    """Return the errors of predicted waiting times, each with its confidence interval.

    A median is the prediction that the absolute error rewards; a mean of skewed waiting times loses to it.

    Args:
        target_days: (n,) days from the last event to the next one, 0 or more.
        predicted_days: (n,).
        log_likelihood: (n,) nats of each target (-inf: held impossible), or None if the model has no density (NaN).
        baseline_median: the median gap of the training events, the constant to beat.
        n_bootstrap: resamples; 0 leaves the intervals open (NaN).
        seed: of the bootstrap; the same seed gives the same intervals.
        confidence: coverage of the intervals.

    Returns:
        `mae_days`, `baseline_mae_days`, `mae_difference_days` (model minus constant: below 0 the model is
        better) and `log_likelihood` (mean, nats; higher is better). Without rows they are undefined.

    Raises:
        DataError: if the columns differ in length, hold NaN, or a target is negative.

    >>> found = time_metrics([0, 2, 9], [0, 1, 5], [-0.5, -2.0, -4.0], baseline_median=2)
    >>> {name: round(interval.value, 3) for name, interval in found.items()}
    {'mae_days': 1.667, 'baseline_mae_days': 3.0, 'mae_difference_days': -1.333, 'log_likelihood': -2.167}
    """
    normal_quantile(confidence)
    target = _column("target_days", target_days)
    predicted = _column("predicted_days", predicted_days, len(target))
    if (target < 0).any():
        raise DataError(f"target_days holds {target.min()}: a waiting time is 0 or more; sort each history by time.")
    if not np.isfinite(baseline_median):
        raise DataError(f"baseline_median={baseline_median} is not a number of days; use the median gap of training.")
    columns = {"mae_days": np.abs(predicted - target), "baseline_mae_days": np.abs(baseline_median - target)}
    columns["mae_difference_days"] = columns["mae_days"] - columns["baseline_mae_days"]
    if log_likelihood is not None:
        columns["log_likelihood"] = _column("log_likelihood", log_likelihood, len(target), may_be_impossible=True)
    found = _means(columns, n_bootstrap, seed, confidence)
    return found | {"log_likelihood": found.get("log_likelihood", Interval.undefined())}


def _means(columns: dict[str, Floats], n_bootstrap: int, seed: int, confidence: float) -> dict[str, Interval]:
    """Return the mean of each column; one bootstrap for all of them keeps differences paired."""
    rows = np.stack(list(columns.values()), axis=1)
    if not len(rows):
        return dict.fromkeys(columns, Interval.undefined())
    finite = np.where(np.isfinite(rows), rows, 0)  # 0 draws of an impossible row times -inf would be NaN
    blocks = [weights @ finite / len(rows) for weights in resamples(len(rows), n_bootstrap, seed)]
    draws = np.concatenate(blocks) if blocks else np.empty((0, len(columns)))
    draws[:, ~np.isfinite(rows).all(axis=0)] = np.nan
    values = rows.mean(axis=0)
    return {name: bootstrap_interval(float(values[i]), draws[:, i], confidence) for i, name in enumerate(columns)}


def _column(name: str, values: ArrayLike, n: int | None = None, may_be_impossible: bool = False) -> Floats:
    column = np.asarray(values, dtype=np.float64)
    if column.ndim != 1 or (n is not None and len(column) != n):
        raise DataError(f"{name} has shape {column.shape}; it must be one number for each row of target_days.")
    usable = np.isfinite(column) | (may_be_impossible & (column == -np.inf))
    if not usable.all():
        row = int(np.argmin(usable))
        raise DataError(f"{name} holds {column[row]} in row {row}; every row needs a finite number.")
    return column
