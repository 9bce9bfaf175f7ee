"""Judge a classifier: every metric with its interval, and the difference of two models on the same rows.

AUC and Gini of two classes take DeLong's interval; accuracy, and precision and recall of two classes, are shares and
take Wilson's; everything else is bootstrapped over rows, by the interval that `intervals.py` has for its kind.
Undefined metrics (one class only, fewer than two rows) come as NaN intervals, `degenerate_note` says why.
The bootstrap's cost grows with rows x resamples x classes;
30,000 rows, two classes and 500 resamples take about a second.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from habitus.metrics.delong import auc_difference, auc_interval
from habitus.metrics.intervals import (
    Interval,
    bootstrap_interval,
    log_odds_interval,
    normal_quantile,
    reflected_interval,
    resamples,
    wilson,
)
from habitus.metrics.measures import METRICS, MICRO_METRICS, RANK_METRICS, Measures, check_metrics
from habitus.metrics.outcome import Floats, Outcome, read_outcome


def classification_metrics(
    target: ArrayLike,
    probability: ArrayLike,
    *,
    n_classes: int = 2,
    multi_label: bool = False,
    threshold: float = 0.5,
    n_bootstrap: int = 500,
    seed: int = 0,
    confidence: float = 0.95,
) -> dict[str, Interval]:
    """Return every classification metric with its confidence interval.

    Args:
        target: class numbers 0..n_classes-1, (n,); for multi-label a 0/1 matrix (n, C).
        probability: (n,) of the positive class for two classes, else (n, C).
        n_classes: number of classes; multi-label takes it from the shapes.
        multi_label: every column is a yes/no question of its own.
        threshold: say "positive" from this probability on; multi-class takes the likeliest class.
        n_bootstrap: resamples; 0 leaves the bootstrapped intervals open (NaN) and is fast.
        seed: of the bootstrap; the same seed gives the same intervals.
        confidence: coverage of the intervals.

    Returns:
        `auc` (multi-class: macro one-vs-rest), `pr_auc` (average precision), `ks`, `gini` (2 * auc - 1), `log_loss`
        (nats), `brier` (multi-class: summed over classes, 0..2), `accuracy` (multi-label: all labels right), `f1`,
        `precision`, `recall` (macro), `calibration_error` (10 bins of equal count; multi-class: of the likeliest
        class). Multi-label adds `auc_micro`, `pr_auc_micro`, `f1_micro`, `precision_micro`, `recall_micro`.

    Raises:
        DataError: if the probabilities are NaN, out of 0..1 or of the wrong shape, or the target is not class numbers.

    >>> found = classification_metrics([0, 0, 1, 1, 1, 0], [0.1, 0.4, 0.35, 0.8, 0.7, 0.2])
    >>> print(found["auc"])
    0.8889 [0.2614, 0.9945]
    >>> print(found["accuracy"])
    0.8333 [0.4365, 0.9699]
    >>> print(classification_metrics([0, 0, 0], [0.1, 0.2, 0.3])["auc"])
    undefined
    """
    outcome = read_outcome(target, probability, n_classes=n_classes, multi_label=multi_label)
    names = METRICS + (MICRO_METRICS if multi_label else ())
    normal_quantile(confidence)
    if outcome.n < 2:
        return dict.fromkeys(names, Interval.undefined())
    measures = Measures(outcome.by_score(), threshold)
    values = measures.values(names)
    exact = _closed_forms(measures, values, confidence)
    rest = [name for name in names if name not in exact]
    drawn = _draw(measures.under, outcome.n, [*rest, "calibration_noise"], n_bootstrap, seed)
    found = {name: _interval(name, values[name], drawn, confidence) for name in rest}
    return {name: exact[name] if name in exact else found[name] for name in names}


def paired_difference(
    target: ArrayLike,
    probability_a: ArrayLike,
    probability_b: ArrayLike,
    metric: str = "auc",
    *,
    n_classes: int = 2,
    multi_label: bool = False,
    threshold: float = 0.5,
    n_bootstrap: int = 500,
    seed: int = 0,
    confidence: float = 0.95,
) -> Interval:
    """Return one metric of model a minus that of model b on the same rows.

    Above 0 throughout: a has the higher metric, which is better for scores and worse for `log_loss`, `brier` and
    `calibration_error`. Arguments as in `classification_metrics`; for metrics that only rank, any finite scores do.

    >>> print(paired_difference([0, 0, 0, 1, 1, 1], [0.1, 0.2, 0.3, 0.4, 0.3, 0.6], [0.1, 0.2, 0.3, 0.1, 0.2, 0.3]))
    0.4444 [-0.0425, 0.9314]
    """
    return paired_metric_differences(
        target,
        probability_a,
        probability_b,
        [metric],
        n_classes=n_classes,
        multi_label=multi_label,
        threshold=threshold,
        n_bootstrap=n_bootstrap,
        seed=seed,
        confidence=confidence,
    )[metric]


def paired_metric_differences(
    target: ArrayLike,
    probability_a: ArrayLike,
    probability_b: ArrayLike,
    metrics: Sequence[str] = METRICS,
    *,
    n_classes: int = 2,
    multi_label: bool = False,
    threshold: float = 0.5,
    n_bootstrap: int = 500,
    seed: int = 0,
    confidence: float = 0.95,
) -> dict[str, Interval]:
    """Return the differences, a minus b, of several metrics; every metric sees the same resamples.

    >>> found = paired_metric_differences([0, 1, 0, 1], [0.1, 0.9, 0.2, 0.8], [0.5, 0.5, 0.5, 0.5], ["brier"])
    >>> print(found["brier"])
    -0.2250 [-0.2400, -0.2100]
    """
    ranks_only = set(metrics) <= set(RANK_METRICS)
    a, b = (
        read_outcome(target, given, n_classes=n_classes, multi_label=multi_label, ranks_only=ranks_only)
        for given in (probability_a, probability_b)
    )
    check_metrics(metrics, a.kind)
    normal_quantile(confidence)
    if a.n < 2:
        return dict.fromkeys(metrics, Interval.undefined())
    exact = _closed_differences(a, b, metrics, confidence)
    rest = [name for name in metrics if name not in exact]
    first, second = Measures(a, threshold), Measures(b, threshold)

    def difference(weights: Floats, names: Sequence[str]) -> dict[str, Floats]:
        of_a, of_b = first.under(weights, names), second.under(weights, names)
        return {name: of_a[name] - of_b[name] for name in names}

    values = difference(np.ones((1, a.n)), rest)
    drawn = _draw(difference, a.n, rest, n_bootstrap, seed)
    return {
        name: exact[name] if name in exact else _difference(name, float(values[name][0]), drawn[name], confidence)
        for name in metrics
    }


def _draw(
    metrics_under: Callable[[Floats, Sequence[str]], dict[str, Floats]],
    n: int,
    names: Sequence[str],
    n_bootstrap: int,
    seed: int,
) -> dict[str, Floats]:
    blocks = [metrics_under(weights, names) for weights in resamples(n, n_bootstrap if names else 0, seed)]
    return {name: np.concatenate([block[name] for block in blocks] or [np.zeros(0)]) for name in names}


def _interval(name: str, value: float, drawn: dict[str, Floats], confidence: float) -> Interval:
    draws = drawn[name]
    if name == "ks":
        return reflected_interval(value, draws, confidence)
    if name in ("pr_auc", "pr_auc_micro"):
        return log_odds_interval(value, draws, confidence)
    interval = bootstrap_interval(value, draws, confidence)
    if name != "calibration_error" or not len(draws):
        return interval
    noise = float(np.quantile(drawn["calibration_noise"], 0.5 + confidence / 2))
    return Interval(value, max(0.0, value - noise), interval.high)


def _difference(name: str, value: float, draws: Floats, confidence: float) -> Interval:
    if name in ("ks", "calibration_error"):
        return reflected_interval(value, draws, confidence, lowest=-1.0)
    return bootstrap_interval(value, draws, confidence)


def _closed_forms(measures: Measures, values: dict[str, float], confidence: float) -> dict[str, Interval]:
    outcome = measures.outcome
    found = {"accuracy": wilson(values["accuracy"] * outcome.n, outcome.n, confidence)}
    if outcome.kind != "binary":
        return found
    truth, flagged = outcome.truth[:, 0], measures.decision[:, 0]
    hits, n_positive = float((truth & flagged).sum()), float(truth.sum())
    auc = auc_interval(truth, outcome.probability[:, 0], confidence)
    found |= {"auc": auc, "gini": _gini(auc), "recall": wilson(hits, n_positive, confidence)}
    if flagged.any():  # precision with nothing flagged is 0 or undefined by convention, not a share of anything
        found["precision"] = wilson(hits, float(flagged.sum()), confidence)
    return found | _perfect(values, found["gini"], hits, n_positive, confidence)


def _perfect(
    values: dict[str, float], gini: Interval, hits: float, n_positive: float, confidence: float
) -> dict[str, Interval]:
    # No resample of a flawless result has a flaw: a bootstrap would claim certainty from ten rows.
    found = {}
    if values["auc"] == 1:
        # With KS = k the ROC curve lies below its line through (0, k): gini <= 1 - (1 - k)^2.
        found["ks"] = Interval(1.0, 1 - math.sqrt(1 - gini.low), 1.0)
        found["pr_auc"] = wilson(n_positive, n_positive, confidence)
    if values["f1"] == 1:
        found["f1"] = wilson(hits, hits, confidence)
    return found


def _closed_differences(a: Outcome, b: Outcome, metrics: Sequence[str], confidence: float) -> dict[str, Interval]:
    if a.kind != "binary" or not {"auc", "gini"} & set(metrics):
        return {}
    auc = auc_difference(a.truth[:, 0], a.probability[:, 0], b.probability[:, 0], confidence)
    return {"auc": auc, "gini": Interval(2 * auc.value, 2 * auc.low, 2 * auc.high)}


def _gini(auc: Interval) -> Interval:
    return Interval(2 * auc.value - 1, 2 * auc.low - 1, 2 * auc.high - 1)
