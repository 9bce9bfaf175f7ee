"""Judge numbers: errors, R2, and for quantiles the pinball loss and coverage, each with its interval.

Every metric is a function of row weights, as in `measures.py`: weights of 1 give the value, drawn counts a resample,
so that one numpy pass judges many resamples. Errors are in the unit of the target. Coverage is a share of counted
things and takes Wilson's interval; everything else is bootstrapped over rows (examples).
Choose the metric that fits what is predicted (Gneiting 2011, https://doi.org/10.1198/jasa.2011.r10138): RMSE and R2
reward the mean, MAE the median, the pinball loss quantiles. On skewed amounts the mean loses in MAE, and the median
in RMSE, however good they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from habitus.errors import ConfigError, DataError
from habitus.metrics.intervals import Floats, Interval, bootstrap_interval, resamples, wilson

NUMBER_METRICS = ("mae", "rmse", "r2", "median_absolute_error", "bias")
Measure = Callable[[Floats], Floats]  # weights (b, n) -> values (b,)


def regression_metrics(
    target: ArrayLike,
    answer: ArrayLike,
    *,
    levels: Sequence[float] = (),
    n_bootstrap: int = 500,
    seed: int = 0,
    confidence: float = 0.95,
) -> dict[str, Interval]:
    """Return every metric of predicted numbers with its confidence interval.

    Args:
        target: true numbers, (n,).
        answer: predicted numbers, (n,); with `levels`, quantiles (n, Q), of which the median is the prediction.
        levels: of the quantiles, ascending, 0.5 among them; empty for a prediction alone.
        n_bootstrap: resamples; 0 leaves the bootstrapped intervals open (NaN) and is fast.
        seed: of the bootstrap; the same seed gives the same intervals.
        confidence: coverage of the intervals.

    Returns:
        `mae`, `rmse`, `median_absolute_error` and `bias` (mean of prediction less truth), in the target's unit; `r2`,
        1 less the squared error over that of the mean of these targets (undefined where they are all equal). Quantiles
        add `pinball` (mean over levels, the target's unit) and, for each pair of levels that is symmetric about 0.5,
        the share of targets between them, such as `coverage_80` for 0.1 and 0.9.

    Raises:
        DataError: if the shapes differ, or a number is not finite.

    >>> found = regression_metrics([3.0, -0.5, 2.0, 7.0], [2.5, 0.0, 2.0, 8.0], n_bootstrap=0)
    >>> {name: round(found[name].value, 4) for name in found}
    {'mae': 0.5, 'rmse': 0.6124, 'r2': 0.9486, 'median_absolute_error': 0.5, 'bias': 0.25}
    """
    y, quantiles = _read(target, answer, levels)
    if len(y) < 2:
        return dict.fromkeys(_names(levels), Interval.undefined())
    measures = _measures(y, quantiles, levels)
    found = _bootstrapped(measures, len(y), n_bootstrap, seed, confidence)
    return found | _coverages(y, quantiles, levels, confidence)


def regression_differences(
    target: ArrayLike,
    answer: ArrayLike,
    other: ArrayLike,
    *,
    levels: Sequence[float] = (),
    n_bootstrap: int = 500,
    seed: int = 0,
    confidence: float = 0.95,
) -> dict[str, Interval]:
    """Return paired differences, answer minus other, on the same rows; every metric sees the same resamples.

    Below 0 throughout: `answer` has the lower metric, which is better for all but `r2`. `bias` and coverage are left
    out, for which neither higher nor lower is better. Arguments as in `regression_metrics`.

    >>> found = regression_differences([0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 2.0, 3.0], [1.0, 2.0, 3.0, 4.0])
    >>> print(found["mae"])
    -1.0000 [-1.0000, -1.0000]
    """
    y, quantiles = _read(target, answer, levels)
    _, others = _read(target, other, levels)
    names = [name for name in _names(levels) if name != "bias" and not name.startswith("coverage")]
    if len(y) < 2:
        return dict.fromkeys(names, Interval.undefined())
    first, second = _measures(y, quantiles, levels), _measures(y, others, levels)
    pairs = {name: _minus(first[name], second[name]) for name in names}
    return _bootstrapped(pairs, len(y), n_bootstrap, seed, confidence)


def pinball_loss(target: ArrayLike, quantiles: ArrayLike, levels: Sequence[float]) -> Floats:
    """Return the pinball loss of each row, (n,), the mean over levels (Koenker & Bassett 1978, equation 2).

    A target above its q-quantile costs q times the distance, one below it 1 - q times.

    >>> pinball_loss([10.0, 10.0], [[8.0], [12.0]], [0.9]).round(3).tolist()
    [1.8, 0.2]
    """
    above = np.asarray(target, dtype=np.float64)[:, None] - np.asarray(quantiles, dtype=np.float64)
    level = np.asarray(levels, dtype=np.float64)
    return np.asarray(np.maximum(level * above, (level - 1) * above).mean(axis=1))


def coverage_pairs(levels: Sequence[float]) -> dict[str, tuple[int, int]]:
    """Return the pairs of levels that are symmetric about 0.5, named by the share between them, widest first.

    >>> coverage_pairs([0.1, 0.25, 0.5, 0.75, 0.9])
    {'coverage_80': (0, 4), 'coverage_50': (1, 3)}
    """
    pairs = {}
    for low, level in enumerate(levels):
        high = next((k for k, one in enumerate(levels) if k > low and math.isclose(level + one, 1.0)), None)
        if high is not None:
            pairs[f"coverage_{100 * (levels[high] - level):.4g}"] = (low, high)
    return pairs


def point_of(levels: Sequence[float]) -> int:
    """Return the column of quantiles that is the prediction: the median's; 0 where there are no levels.

    >>> point_of([0.1, 0.5, 0.9])
    1
    """
    return list(levels).index(0.5) if levels else 0


def _read(target: ArrayLike, answer: ArrayLike, levels: Sequence[float]) -> tuple[Floats, Floats]:
    """Return targets (n,) and answers (n, Q), checked."""
    y, quantiles = np.asarray(target, dtype=np.float64), np.asarray(answer, dtype=np.float64)
    quantiles = quantiles[:, None] if quantiles.ndim == 1 else quantiles
    if levels and 0.5 not in levels:
        raise ConfigError(f"levels={tuple(levels)} hold no 0.5; add it: the median is the prediction.")
    if y.ndim != 1 or quantiles.shape != (len(y), max(len(levels), 1)):
        raise DataError(
            f"Targets of shape {y.shape} and answers of shape {quantiles.shape} do not fit each other; give (n,) "
            f"numbers and (n, {max(len(levels), 1)}) answers."
        )
    if not (np.isfinite(y).all() and np.isfinite(quantiles).all()):
        raise DataError("A target or an answer is NaN or infinite; leave those rows out.")
    return y, quantiles


def _names(levels: Sequence[float]) -> list[str]:
    return [*NUMBER_METRICS, *(("pinball", *coverage_pairs(levels)) if levels else ())]


def _measures(y: Floats, quantiles: Floats, levels: Sequence[float]) -> dict[str, Measure]:
    error = quantiles[:, point_of(levels)] - y
    absolute = np.abs(error)
    found: dict[str, Measure] = {
        "mae": _mean(absolute),
        "rmse": lambda weights: np.sqrt(_mean(error**2)(weights)),
        "r2": _r2(y, error),
        "median_absolute_error": _median(absolute),
        "bias": _mean(error),
    }
    return found | ({"pinball": _mean(pinball_loss(y, quantiles, levels))} if levels else {})


def _mean(values: Floats) -> Measure:
    return lambda weights: weights @ values / weights.sum(axis=1)


def _r2(y: Floats, error: Floats) -> Measure:
    centred = y - y.mean()  # sums of squares about a far origin would lose their digits

    def r2(weights: Floats) -> Floats:
        n = weights.sum(axis=1)
        spread = weights @ centred**2 - (weights @ centred) ** 2 / n
        # A few equal targets leave rounding where the spread is 0; relative to the whole it cannot be told from 0.
        known = spread > 1e-12 * float(centred @ centred)
        return np.where(known, 1 - weights @ error**2 / np.where(known, spread, 1.0), np.nan)

    return r2


def _median(values: Floats) -> Measure:
    order = np.argsort(values, kind="stable")
    ascending = values[order]

    def median(weights: Floats) -> Floats:
        """Count up to the middle, or the mean of the two middles; weights are counts."""
        below, n = np.cumsum(weights[:, order], axis=1), weights.sum(axis=1)
        ends = [(below <= middle[:, None]).sum(axis=1) for middle in ((n - 1) // 2, n // 2)]
        return np.asarray((ascending[ends[0]] + ascending[ends[1]]) / 2)

    return median


def _minus(first: Measure, second: Measure) -> Measure:
    return lambda weights: first(weights) - second(weights)


def _bootstrapped(
    measures: Mapping[str, Measure], n: int, n_bootstrap: int, seed: int, confidence: float
) -> dict[str, Interval]:
    draws: dict[str, list[Floats]] = {name: [] for name in measures}
    for weights in resamples(n, n_bootstrap, seed):
        for name, measure in measures.items():
            draws[name].append(measure(weights))
    ones = np.ones((1, n))
    return {
        name: bootstrap_interval(float(measure(ones)[0]), np.concatenate(draws[name] or [np.zeros(0)]), confidence)
        for name, measure in measures.items()
    }


def _coverages(y: Floats, quantiles: Floats, levels: Sequence[float], confidence: float) -> dict[str, Interval]:
    found = {}
    for name, (low, high) in coverage_pairs(levels).items():
        inside = (quantiles[:, low] <= y) & (y <= quantiles[:, high])
        found[name] = wilson(float(inside.sum()), len(y), confidence)
    return found
