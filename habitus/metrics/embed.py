"""Judge embeddings: rank correlation with scores, and how early the right one is found; with 95 % intervals.

    spearman   the correlation of ranks, mean ranks for ties (Spearman 1904); 1 is the same order
    pearson    the correlation of the values themselves
    mrr        the mean of 1 / rank of the right one
    hr@k       the share of units whose right one stands among the first k

Intervals are percentiles of a bootstrap over units, in which ranks are taken anew. Knows nothing about vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from habitus.metrics.intervals import Interval, bootstrap_interval, resamples

HITS = (1, 5, 10)
_N_BOOTSTRAP = 500

Values = Callable[[np.ndarray], np.ndarray]


def score_metrics(truth: np.ndarray, answer: np.ndarray) -> dict[str, Interval]:
    """Return correlations with intervals.

    Args:
        truth: the scores, (n,).
        answer: the cosines, (n,).

    >>> found = score_metrics(np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.1, 0.2, 0.4, 0.3]))
    >>> round(found["spearman"].value, 3)
    0.8
    """
    return _intervals({name: make(truth, answer) for name, make in _CORRELATIONS.items()}, len(truth))


def score_differences(truth: np.ndarray, answer: np.ndarray, other: np.ndarray) -> dict[str, Interval]:
    """Return paired differences of the correlations, answer minus other."""
    return _intervals(
        {name: _minus(make(truth, answer), make(truth, other)) for name, make in _CORRELATIONS.items()}, len(truth)
    )


def rank_metrics(ranks: np.ndarray) -> dict[str, Interval]:
    """Return the metrics of ranks (n,), 1 at best; a NaN is not counted.

    >>> {name: round(found.value, 3) for name, found in rank_metrics(np.array([1.0, 2.0, 20.0])).items()}
    {'mrr': 0.517, 'hr@1': 0.333, 'hr@5': 0.667, 'hr@10': 0.667}
    """
    known = ranks[~np.isnan(ranks)]
    return _intervals({name: _mean(values) for name, values in _terms(known).items()}, len(known))


def rank_differences(ranks: np.ndarray, other: np.ndarray) -> dict[str, Interval]:
    """Return paired differences, ranks minus other, in the metrics of both."""
    both = ~(np.isnan(ranks) | np.isnan(other))
    mine, others = _terms(ranks[both]), _terms(other[both])
    return _intervals({name: _mean(mine[name] - others[name]) for name in mine}, int(both.sum()))


def spearman(one: np.ndarray, two: np.ndarray) -> float:
    """Return the rank correlation of two arrays (n,); NaN where one of them is constant.

    >>> round(spearman(np.array([1, 2, 3]), np.array([10, 30, 20])), 3)
    0.5
    """
    return float(_spearman(one, two)(np.ones((1, len(one))))[0])


def _terms(ranks: np.ndarray) -> dict[str, np.ndarray]:
    return {"mrr": 1 / ranks, **{f"hr@{k}": (ranks <= k).astype(np.float64) for k in HITS}}


def _mean(values: np.ndarray) -> Values:
    return lambda weights: weights @ values / np.maximum(weights.sum(1), 1e-12)


def _minus(one: Values, two: Values) -> Values:
    return lambda weights: one(weights) - two(weights)


def _pearson(one: np.ndarray, two: np.ndarray) -> Values:
    x, y = (np.asarray(values, dtype=np.float64) for values in (one, two))
    return lambda weights: _correlation(weights, x, y)


def _spearman(one: np.ndarray, two: np.ndarray) -> Values:
    x, y = _ranker(np.asarray(one)), _ranker(np.asarray(two))
    return lambda weights: _correlation(weights, x(weights), y(weights))


def _ranker(values: np.ndarray) -> Values:
    """Return a function from how often each unit was drawn (b, n) to mean ranks (b, n)."""
    distinct, place = np.unique(values, return_inverse=True)
    order = np.argsort(place, kind="stable")
    starts = np.searchsorted(place[order], np.arange(len(distinct)))

    def ranks(weights: np.ndarray) -> np.ndarray:
        counts = np.add.reduceat(weights[:, order], starts, axis=1)
        middle = counts.cumsum(axis=1) - counts + (counts + 1) / 2
        return np.asarray(middle[:, place])

    return ranks


def _correlation(weights: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the weighted correlation of x and y, (n,) or (b, n), for each line of weights (b, n)."""
    total = weights.sum(1, keepdims=True)
    x = x - (weights * x).sum(1, keepdims=True) / total
    y = y - (weights * y).sum(1, keepdims=True) / total
    spread = np.sqrt((weights * x * x).sum(1) * (weights * y * y).sum(1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(spread > 1e-12, (weights * x * y).sum(1) / spread, np.nan))


def _intervals(metrics: Mapping[str, Values], n: int) -> dict[str, Interval]:
    if not n:
        return dict.fromkeys(metrics, Interval.undefined())
    blocks = list(resamples(n, _N_BOOTSTRAP))
    found = {}
    for name, values in metrics.items():
        draws = np.concatenate([values(block) for block in blocks])
        found[name] = bootstrap_interval(float(values(np.ones((1, n)))[0]), draws)
    return found


_CORRELATIONS = {"spearman": _spearman, "pearson": _pearson}
