"""Weights mean repeats: a metric under counts is the metric of the rows written out that often."""

import numpy as np
import pytest

from habitus.metrics.measures import METRICS, MICRO_METRICS, Measures, macro_average
from habitus.metrics.outcome import Outcome, read_outcome


def outcome_of(kind: str, n: int = 60) -> Outcome:
    random = np.random.default_rng(5)
    if kind == "binary":
        return read_outcome(random.integers(0, 2, n), random.random(n).round(1))
    if kind == "multi-class":
        return read_outcome(random.integers(0, 3, n), random.dirichlet(np.ones(3), n), n_classes=3)
    return read_outcome(random.integers(0, 2, (n, 3)), random.random((n, 3)).round(1), multi_label=True)


@pytest.mark.parametrize("kind", ["binary", "multi-class", "multi-label"])
def test_weights_mean_repeats(kind):
    outcome = outcome_of(kind)
    names = [*METRICS, *(MICRO_METRICS if kind == "multi-label" else ())]
    names.remove("calibration_error")  # its bins are those of the unweighted rows: checked below
    counts = np.random.default_rng(0).integers(0, 4, size=(5, outcome.n))
    found = Measures(outcome).under(counts.astype(float), names)
    for line, count in enumerate(counts):
        rows = np.repeat(np.arange(outcome.n), count)
        written_out = Outcome(outcome.kind, outcome.truth[rows], outcome.probability[rows], outcome.epsilon)
        for name, expected in Measures(written_out).values(names).items():
            assert found[name][line] == pytest.approx(expected, abs=1e-12), name
    assert np.ptp(found["auc"]) > 0.01  # the bite: the weightings do differ


def test_calibration_error_under_weights_by_hand():
    outcome = read_outcome([1, 0, 1, 0], [0.8, 0.8, 0.2, 0.2])
    found = Measures(outcome, n_bins=2).under(np.array([[3.0, 1.0, 1.0, 1.0]]), ["calibration_error"])
    # upper bin: 3 of 4 against .8; lower bin: 1 of 2 against .2
    assert found["calibration_error"][0] == pytest.approx((4 * 0.05 + 2 * 0.3) / 6)


def test_sorted_rows_and_rows_in_any_order_are_judged_alike():
    outcome = outcome_of("binary")
    order = np.argsort(-outcome.probability[:, 0], kind="stable")
    weights = np.random.default_rng(0).integers(0, 4, size=(5, outcome.n)).astype(float)
    plain, presorted = (
        Measures(given).under(w, METRICS) for given, w in ((outcome, weights), (outcome.by_score(), weights[:, order]))
    )
    for name in METRICS:
        assert presorted[name] == pytest.approx(plain[name], abs=1e-12), name


def test_a_resample_without_a_class_is_undefined_not_wrong():
    outcome = read_outcome([0, 0, 1], [0.1, 0.2, 0.9])
    found = Measures(outcome).under(np.array([[2.0, 1.0, 0.0]]), ["auc", "pr_auc", "ks", "recall", "brier"])
    assert [name for name in found if np.isnan(found[name][0])] == ["auc", "pr_auc", "ks", "recall"]
    assert np.isnan(macro_average(np.full((1, 2), np.nan)))[0]
