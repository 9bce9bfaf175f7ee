"""The AUC with an interval, and the difference of two AUCs on the same rows, without resampling.

DeLong, DeLong, Clarke-Pearson 1988 (https://doi.org/10.2307/2531595), computed from midranks in O(n log n) as in
Sun & Xu 2014, "Fast implementation of DeLong's algorithm", https://doi.org/10.1109/LSP.2014.2337313, eq. 8-12.
Differs from the papers in two places: the interval of one AUC is built on the log-odds scale, so that it
stays inside 0..1; and a perfect separation, whose DeLong variance is 0, gets an exact bound in its place.
Scores may be any finite numbers, higher for the positive class.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from habitus.metrics.intervals import Floats, Interval, normal_quantile
from habitus.metrics.outcome import read_scores


def midranks(values: Floats) -> Floats:
    """Return ranks from 1; equal values share the mean of their ranks.

    >>> midranks(np.array([0.3, 0.1, 0.3])).tolist()
    [2.5, 1.0, 2.5]
    """
    _, position, count = np.unique(values, return_inverse=True, return_counts=True)
    ranks = np.cumsum(count) - (count - 1) / 2
    return np.asarray(ranks[position], dtype=np.float64)


def delong(target: ArrayLike, scores: ArrayLike) -> tuple[Floats, Floats]:
    """Return the AUCs (k,) of k score lines (k, n) and their covariance matrix (k, k).

    The AUCs are NaN when a class is missing, the covariance is NaN when a class has fewer than two rows.

    >>> aucs, covariance = delong([0, 0, 1, 1], [[0.1, 0.4, 0.35, 0.8]])
    >>> float(aucs[0]), round(float(covariance[0, 0]), 4)
    (0.75, 0.125)
    """
    lines = [read_scores(target, line) for line in np.atleast_2d(np.asarray(scores))]
    truth = lines[0][0]
    n_positive, n_negative = int(truth.sum()), int((~truth).sum())
    undefined = np.full((len(lines), len(lines)), np.nan)
    if not n_positive or not n_negative:
        return undefined[0], undefined
    placed = [_placements(line[truth], line[~truth]) for _, line in lines]
    of_positives, of_negatives = (np.stack(part) for part in zip(*placed, strict=True))
    aucs = np.asarray(of_positives.mean(axis=1), dtype=np.float64)
    if min(n_positive, n_negative) < 2:
        return aucs, undefined
    return aucs, np.atleast_2d(np.cov(of_positives)) / n_positive + np.atleast_2d(np.cov(of_negatives)) / n_negative


def auc_interval(target: ArrayLike, score: ArrayLike, confidence: float = 0.95) -> Interval:
    """Return the area under the ROC curve with its interval.

    Undefined (NaN) when a class is missing. With one row of a class the data say nothing: the ends are 0 and 1.

    >>> print(auc_interval([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]))
    0.7500 [0.0693, 0.9918]
    """
    aucs, covariance = delong(target, score)
    truth, _ = read_scores(target, score)
    smaller_class = int(min(truth.sum(), (~truth).sum()))
    return _one_interval(float(aucs[0]), float(covariance[0, 0]), smaller_class, confidence)


def auc_difference(target: ArrayLike, score_a: ArrayLike, score_b: ArrayLike, confidence: float = 0.95) -> Interval:
    """Return AUC of a minus AUC of b on the same rows; above 0 throughout means that a ranks better.

    >>> print(auc_difference([0, 0, 0, 1, 1, 1], [1, 2, 3, 4, 3, 6], [1, 2, 3, 1, 2, 3]))
    0.4444 [-0.0425, 0.9314]
    """
    z = normal_quantile(confidence)
    truth, a = read_scores(target, score_a)
    _, b = read_scores(target, score_b)
    aucs, covariance = delong(truth, np.stack([a, b]))
    value = float(aucs[0] - aucs[1])
    if math.isnan(value) or np.array_equal(midranks(a), midranks(b)):
        return Interval(value, value, value)
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    if math.isnan(variance):
        return Interval(value, -1.0, 1.0)
    if variance > 1e-15:
        half = z * math.sqrt(variance)
        return Interval(value, max(-1.0, value - half), min(1.0, value + half))
    return _difference_of_intervals(auc_interval(truth, a, confidence), auc_interval(truth, b, confidence))


def _placements(positives: Floats, negatives: Floats) -> tuple[Floats, Floats]:
    """Return, per positive, the share of negatives below it; per negative, the share of positives above."""
    together: NDArray[np.float64] = midranks(np.concatenate([positives, negatives]))
    below = (together[: len(positives)] - midranks(positives)) / len(negatives)
    above = 1 - (together[len(positives) :] - midranks(negatives)) / len(positives)
    return below, above


def _one_interval(auc: float, variance: float, smaller_class: int, confidence: float) -> Interval:
    z = normal_quantile(confidence)
    if math.isnan(auc):
        return Interval.undefined()
    if math.isnan(variance):
        return Interval(auc, 0.0, 1.0)
    if auc in (0.0, 1.0):
        # Pair the rows of the smaller class off with rows of the other: independent pairs, each in order with
        # probability AUC, all in order here. So an AUC with AUC ** pairs < tail is rejected.
        bound = ((1 - confidence) / 2) ** (1 / smaller_class)
        return Interval(auc, bound, 1.0) if auc else Interval(auc, 0.0, 1 - bound)
    half = z * math.sqrt(max(variance, 0.0)) / (auc * (1 - auc))
    centre = math.log(auc / (1 - auc))
    low, high = (1 / (1 + math.exp(-max(min(end, 700.0), -700.0))) for end in (centre - half, centre + half))
    return Interval(auc, min(low, auc), max(high, auc))


def _difference_of_intervals(a: Interval, b: Interval) -> Interval:
    # Both variances are 0 though the rankings differ (perfect against perfect, or against a constant):
    # combine the two intervals' arms (Zou & Donner 2008, https://doi.org/10.1002/sim.3095, eq. 4).
    value = a.value - b.value
    low = value - math.hypot(a.value - a.low, b.high - b.value)
    high = value + math.hypot(a.high - a.value, b.value - b.low)
    return Interval(value, max(-1.0, low), min(1.0, high))
