"""Every classification metric as a function of row weights: weights of 1 give the value, drawn counts a resample.

Averages over columns are macro averages: each class or label counts the same, and a column in which the metric
is undefined is left out. The `_micro` metrics of multi-label pool all (row, label) pairs.
Conventions are scikit-learn's, with one difference: the recall of a class that has no rows is undefined, where
scikit-learn counts it as 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np

from habitus.errors import ConfigError, did_you_mean
from habitus.metrics.outcome import Bools, Floats, Outcome
from habitus.metrics.ranked import Ranked, RankedSums

METRICS = (
    "auc",
    "pr_auc",
    "ks",
    "gini",
    "log_loss",
    "brier",
    "accuracy",
    "f1",
    "precision",
    "recall",
    "calibration_error",
)
MICRO_METRICS = ("auc_micro", "pr_auc_micro", "f1_micro", "precision_micro", "recall_micro")
RANK_METRICS = ("auc", "pr_auc", "ks", "gini", "auc_micro", "pr_auc_micro")
CALIBRATION = ("calibration_error", "calibration_noise")


def check_metrics(names: Sequence[str], outcome_kind: str) -> None:
    """Refuse a metric that does not exist for this kind of classification.

    >>> check_metrics(["auc", "brier"], "binary")
    """
    valid = METRICS + (MICRO_METRICS if outcome_kind == "multi-label" else ())
    for name in names:
        if name not in valid:
            raise ConfigError(f"metric '{name}' is not known for {outcome_kind} targets; {did_you_mean(name, valid)}")


class Measures:
    """Metrics of one outcome under any weighting of its rows.

    >>> from habitus.metrics.outcome import read_outcome
    >>> measures = Measures(read_outcome([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]))
    >>> {name: round(float(value[0]), 4) for name, value in measures.under(np.ones((1, 4)), ["auc", "brier"]).items()}
    {'auc': 0.75, 'brier': 0.1581}
    """

    def __init__(self, outcome: Outcome, threshold: float = 0.5, n_bins: int = 10) -> None:
        """Decide with `threshold`; `n_bins` is for the calibration error."""
        self.outcome = outcome
        self.n_bins = n_bins
        self.decision = outcome.decide(threshold)

    def values(self, names: Sequence[str]) -> dict[str, float]:
        """Return the metrics on the rows as they are."""
        found = self.under(np.ones((1, self.outcome.n)), names)
        return {name: float(value[0]) for name, value in found.items()}

    def under(self, weights: Floats, names: Sequence[str]) -> dict[str, Floats]:
        """Return each metric (b,) under the weightings (b, n)."""
        macro = {name for name in names if not name.endswith("_micro")}
        found = self._of_rows(weights)
        found |= self._of_decisions(weights)
        found |= self._of_ranks(weights, macro)
        if len(macro) < len(names):
            found |= self._pooled_ranks(weights, set(names))
        return {name: found[name] for name in names}

    def _of_rows(self, weights: Floats) -> dict[str, Floats]:
        means = weights @ self._row_terms / weights.sum(axis=1)[:, None]
        return {"log_loss": means[:, 0], "brier": means[:, 1], "accuracy": means[:, 2]}

    def _of_decisions(self, weights: Floats) -> dict[str, Floats]:
        hits, flagged, actual = (weights @ part for part in self._decision_terms)
        found = {name: macro_average(share) for name, share in shares(hits, flagged, actual).items()}
        pooled = shares(hits.sum(axis=1), flagged.sum(axis=1), actual.sum(axis=1))
        return found | {f"{name}_micro": share for name, share in pooled.items()}

    def _of_ranks(self, weights: Floats, names: set[str]) -> dict[str, Floats]:
        computed = _rank_functions(names)
        if self.outcome.kind == "multi-class":
            computed = {name: function for name, function in computed.items() if name not in CALIBRATION}
        columns: dict[str, list[Floats]] = {name: [] for name in computed}
        for column in self._columns if computed else ():
            sums = column.sums(weights)
            for name, function in computed.items():
                columns[name].append(function(sums))
        found = {name: macro_average(np.stack(values, axis=1)) for name, values in columns.items()}
        if self.outcome.kind == "multi-class" and names & set(CALIBRATION):
            top = self._top_column.sums(weights)
            found |= {"calibration_error": top.calibration_error(), "calibration_noise": top.calibration_noise()}
        return found | ({"gini": 2 * found["auc"] - 1} if "auc" in found else {})

    def _pooled_ranks(self, weights: Floats, names: set[str]) -> dict[str, Floats]:
        computed = _rank_functions({name.removesuffix("_micro") for name in names if name.endswith("_micro")})
        if not computed:
            return {}
        sums = self._pooled_column.sums(np.repeat(weights, self.outcome.truth.shape[1], axis=1))
        return {f"{name}_micro": function(sums) for name, function in computed.items()}

    @cached_property
    def _columns(self) -> list[Ranked]:
        truth, probability = self.outcome.truth, self.outcome.probability
        return [Ranked.of(truth[:, c], probability[:, c], self.n_bins) for c in range(truth.shape[1])]

    @cached_property
    def _pooled_column(self) -> Ranked:
        return Ranked.of(self.outcome.truth.ravel(), self.outcome.probability.ravel())

    @cached_property
    def _top_column(self) -> Ranked:
        # Guo et al. 2017 (https://arxiv.org/abs/1706.04599): is the likeliest class right as often as it says?
        right = np.asarray((self.decision & self.outcome.truth).any(axis=1))
        return Ranked.of(right, self.outcome.probability.max(axis=1), self.n_bins)

    @cached_property
    def _decision_terms(self) -> tuple[Floats, Floats, Floats]:
        truth, decision = self.outcome.truth, self.decision
        return (truth & decision).astype(np.float64), decision.astype(np.float64), truth.astype(np.float64)

    @cached_property
    def _row_terms(self) -> Floats:
        right = (self.decision == self.outcome.truth).all(axis=1).astype(np.float64)
        return np.stack([row_log_loss(self.outcome), row_brier(self.outcome), right], axis=1)


def row_log_loss(outcome: Outcome) -> Floats:
    """Return minus the log of the probability given to what happened, (n,); for multi-label the mean over labels.

    >>> from habitus.metrics.outcome import read_outcome
    >>> row_log_loss(read_outcome([1, 0], [0.5, 0.5])).round(4).tolist()
    [0.6931, 0.6931]
    """
    kept = np.clip(outcome.probability, outcome.epsilon, 1 - outcome.epsilon)
    if outcome.kind == "multi-class":
        return np.asarray(-np.log(kept[outcome.truth]), dtype=np.float64)
    return np.asarray(-np.log(np.where(outcome.truth, kept, 1 - kept)).mean(axis=1), dtype=np.float64)


def row_brier(outcome: Outcome) -> Floats:
    """Return the squared error of the probabilities, (n,): summed over classes, or averaged over labels.

    >>> from habitus.metrics.outcome import read_outcome
    >>> row_brier(read_outcome([1, 0], [0.5, 0.5])).tolist()
    [0.25, 0.25]
    """
    squared = (outcome.probability - outcome.truth) ** 2
    return np.asarray(squared.sum(axis=1) if outcome.kind == "multi-class" else squared.mean(axis=1), dtype=np.float64)


def shares(hits: Floats, flagged: Floats, actual: Floats) -> dict[str, Floats]:
    """Return precision, recall and F1 from weighted counts; NaN where there is nothing to count.

    Precision is 0 when a class that has rows is never predicted.

    >>> {name: float(share[0]) for name, share in shares(np.ones(1), np.array([2.0]), np.array([4.0])).items()}
    {'precision': 0.5, 'recall': 0.25, 'f1': 0.3333333333333333}
    """
    anything: Bools = flagged + actual > 0
    return {
        "precision": np.where(anything, hits / np.where(flagged > 0, flagged, 1), np.nan),
        "recall": np.where(actual > 0, hits / np.where(actual > 0, actual, 1), np.nan),
        "f1": np.where(anything, 2 * hits / np.where(anything, flagged + actual, 1), np.nan),
    }


def macro_average(columns: Floats) -> Floats:
    """Return the mean over columns, (b, C) -> (b,), without the undefined ones; NaN if all are.

    >>> macro_average(np.array([[0.5, np.nan, 0.7], [np.nan, np.nan, np.nan]])).round(2).tolist()
    [0.6, nan]
    """
    defined = ~np.isnan(columns)
    count = defined.sum(axis=1)
    total = np.where(defined, columns, 0.0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _rank_functions(names: set[str]) -> dict[str, Callable[[RankedSums], Floats]]:
    wanted = names | ({"auc"} if "gini" in names else set())
    known = {
        "auc": RankedSums.auc,
        "pr_auc": RankedSums.average_precision,
        "ks": RankedSums.ks,
        "calibration_error": RankedSums.calibration_error,
        "calibration_noise": RankedSums.calibration_noise,
    }
    return {name: function for name, function in known.items() if name in wanted}
