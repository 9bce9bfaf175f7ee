"""One column of scores, sorted once, judged under many weightings of its rows.

AUC, average precision, KS and the expected calibration error all read the rows in score order. Sorting once and
giving every bootstrap resample as row weights makes 500 resamples a handful of cumulative sums.
Equal scores always move together: no metric here depends on the order of tied rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from habitus.metrics.outcome import Bools, Floats

Places = NDArray[np.intp]


def tie_ends(sorted_scores: Floats) -> Places:
    """Return the last position of every run of equal scores.

    >>> tie_ends(np.array([0.9, 0.5, 0.5, 0.1])).tolist()
    [0, 2, 3]
    """
    if not len(sorted_scores):
        return np.zeros(0, dtype=np.intp)
    return np.append(np.flatnonzero(np.diff(sorted_scores)), len(sorted_scores) - 1)


def equal_count_ends(sorted_scores: Floats, n_bins: int) -> Places:
    """Return the last position of each of at most `n_bins` bins of about equal size; equal scores share a bin.

    >>> equal_count_ends(np.array([0.9, 0.5, 0.5, 0.5, 0.2, 0.1]), n_bins=3).tolist()
    [3, 5]
    """
    ends = tie_ends(sorted_scores)
    wanted = np.ceil(np.arange(1, n_bins + 1) * len(sorted_scores) / n_bins) - 1
    return np.unique(ends[np.searchsorted(ends, wanted)]) if len(ends) else ends


@dataclass(frozen=True)
class Ranked:
    """A column sorted by falling score.

    >>> column = Ranked.of(np.array([False, False, True, True]), np.array([0.1, 0.4, 0.35, 0.8]))
    >>> sums = column.sums(np.ones((1, 4)))
    >>> sums.auc().tolist(), sums.average_precision().round(4).tolist(), sums.ks().tolist()
    ([0.75], [0.8333], [0.5])
    """

    order: Places
    truth: Floats
    gap: Floats
    ends: Places
    bin_starts: Places
    bin_gaps: Floats
    is_sorted: bool

    @classmethod
    def of(cls, truth: Bools, score: Floats, n_bins: int = 10) -> Ranked:
        """Sort a column (n,); `n_bins` is for the calibration error."""
        order = np.argsort(-score, kind="stable")
        falling, sorted_truth = score[order], truth[order].astype(np.float64)
        starts = np.append(0, equal_count_ends(falling, n_bins)[:-1] + 1).astype(np.intp)
        gap = sorted_truth - falling
        is_sorted = bool((np.diff(order) == 1).all())
        return cls(order, sorted_truth, gap, tie_ends(falling), starts, np.add.reduceat(gap, starts), is_sorted)

    def sums(self, weights: Floats) -> RankedSums:
        """Add up weighted positives and rows from the highest score down, one line per weighting (b, n)."""
        # take, and no step at all for rows that come sorted: gathering is the dearest pass of a bootstrap
        ranked = weights if self.is_sorted else np.take(weights, self.order, axis=1)
        gaps = np.add.reduceat(ranked * self.gap, self.bin_starts, axis=1)
        positives, rows = np.cumsum(ranked * self.truth, axis=1), np.cumsum(ranked, axis=1)
        if len(self.ends) < len(self.order):
            positives, rows = np.take(positives, self.ends, axis=1), np.take(rows, self.ends, axis=1)
        return RankedSums(positives, rows, gaps, gaps - self.bin_gaps)


@dataclass(frozen=True)
class RankedSums:
    """Positives and rows at or above each distinct score, highest first; and (truth - score) per calibration bin,
    and how far that is from the unweighted rows.

    Every metric is (b,), NaN where a class is missing.
    """

    positives: Floats
    rows: Floats
    gaps: Floats
    gap_changes: Floats

    def calibration_error(self) -> Floats:
        """Return the mean absolute gap between mean score and observed rate over the bins."""
        return np.asarray(np.abs(self.gaps).sum(axis=1) / self.rows[:, -1], dtype=np.float64)

    def calibration_noise(self) -> Floats:
        """Return how far the calibration error can be from its value on the rows, by noise alone.

        | sum |true gaps| - sum |gaps| | <= sum |gaps - true gaps|, so this bounds the error of the error, also
        where the model is perfectly calibrated and the usual bootstrap intervals fail.
        """
        return np.asarray(np.abs(self.gap_changes).sum(axis=1) / self.rows[:, -1], dtype=np.float64)

    def auc(self) -> Floats:
        """Return the area under the ROC curve, ties by the trapezoid."""
        negatives = self.rows - self.positives
        before = np.pad(self.positives[:, :-1], ((0, 0), (1, 0)))
        area = (np.diff(negatives, axis=1, prepend=0) * (self.positives + before)).sum(axis=1) / 2
        return self._where_both(area / np.where(self._both, self._n_positive * self._n_negative, 1))

    def average_precision(self) -> Floats:
        """Return the sum of precision * (gain in recall) over the distinct scores, highest first."""
        # Rows is 0 only above the first drawn row, where positives gain nothing; 1e-300 is lost in any other.
        precision = self.rows + 1e-300
        np.divide(self.positives, precision, out=precision)
        precision[:, 1:] *= np.diff(self.positives, axis=1)
        precision[:, 0] *= self.positives[:, 0]
        return self._where_both(precision.sum(axis=1) / np.where(self._both, self._n_positive, 1))

    def ks(self) -> Floats:
        """Return the largest distance between the score distributions of the two classes."""
        # share of positives - share of negatives = positives * (1/P + 1/N) - rows / N
        by_positive = 1 / np.where(self._both, self._n_positive, 1)
        by_negative = 1 / np.where(self._both, self._n_negative, 1)
        apart = self.positives * (by_positive + by_negative)[:, None]
        apart -= self.rows * by_negative[:, None]
        return self._where_both(np.maximum(apart.max(axis=1), -apart.min(axis=1)))

    @property
    def _n_positive(self) -> Floats:
        return self.positives[:, -1]

    @property
    def _n_negative(self) -> Floats:
        return self.rows[:, -1] - self.positives[:, -1]

    @property
    def _both(self) -> Bools:
        return np.asarray((self._n_positive > 0) & (self._n_negative > 0))

    def _where_both(self, values: Floats) -> Floats:
        return np.where(self._both, values, np.nan)
