"""Metrics of numbers equal scikit-learn's, and their intervals cover what they say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics as sk

from habitus.errors import ConfigError, DataError
from habitus.metrics.regress import (
    _measures,
    coverage_pairs,
    pinball_loss,
    regression_differences,
    regression_metrics,
)

LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)
NUMBERS = st.floats(-1e6, 1e6, allow_nan=False).map(lambda x: round(x, 3))


def make(n=200, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.lognormal(3, 1, n)
    spread = np.array([-1.28, -0.67, 0, 0.67, 1.28])
    return y, np.exp(3 + 0.2 * rng.normal(size=(n, 1)) + spread)


@pytest.mark.parametrize("n", [2, 3, 50, 51])
def test_values_are_those_of_scikit_learn(n):
    y, quantiles = make(n)
    found = {name: one.value for name, one in regression_metrics(y, quantiles[:, 2], n_bootstrap=0).items()}
    assert found["mae"] == pytest.approx(sk.mean_absolute_error(y, quantiles[:, 2]))
    assert found["rmse"] == pytest.approx(sk.root_mean_squared_error(y, quantiles[:, 2]))
    assert found["r2"] == pytest.approx(sk.r2_score(y, quantiles[:, 2]))
    assert found["median_absolute_error"] == pytest.approx(sk.median_absolute_error(y, quantiles[:, 2]))
    assert found["bias"] == pytest.approx((quantiles[:, 2] - y).mean())


def test_pinball_and_coverage_are_those_of_scikit_learn_and_of_counting():
    y, quantiles = make()
    found = regression_metrics(y, quantiles, levels=LEVELS, n_bootstrap=0)
    expected = [sk.mean_pinball_loss(y, quantiles[:, k], alpha=level) for k, level in enumerate(LEVELS)]
    assert found["pinball"].value == pytest.approx(np.mean(expected))
    assert found["mae"].value == pytest.approx(sk.mean_absolute_error(y, quantiles[:, 2]))  # of the median
    inside = sum(low <= one <= high for one, low, high in zip(y, quantiles[:, 0], quantiles[:, 4], strict=True))
    assert found["coverage_80"].value == pytest.approx(inside / 200)
    assert found["coverage_80"].low < inside / 200 < found["coverage_80"].high
    assert {"coverage_80", "coverage_50"} < set(found)


def test_the_pinball_loss_of_the_median_is_half_the_absolute_error():
    y, quantiles = make()
    assert pinball_loss(y, quantiles[:, 2:3], [0.5]) == pytest.approx(np.abs(y - quantiles[:, 2]) / 2)


def test_a_resample_is_the_metric_of_the_drawn_rows():
    y, quantiles = make(31)
    rng = np.random.default_rng(1)
    drawn = rng.integers(0, 31, (5, 31))
    weights = np.stack([np.bincount(rows, minlength=31) for rows in drawn]).astype(float)
    measures = _measures(y, quantiles, LEVELS)
    for name, measure in measures.items():
        slow = [_measures(y[rows], quantiles[rows], LEVELS)[name](np.ones((1, 31)))[0] for rows in drawn]
        assert measure(weights) == pytest.approx(slow), name


def test_a_difference_is_paired():
    y, quantiles = make()
    better, worse = quantiles[:, 2], quantiles[:, 2] + 0.01
    gap = regression_differences(y, better, worse)
    one, two = regression_metrics(y, better, n_bootstrap=0), regression_metrics(y, worse, n_bootstrap=0)
    for name in ("mae", "rmse", "r2", "median_absolute_error"):
        assert gap[name].value == pytest.approx(one[name].value - two[name].value)
    own = regression_metrics(y, better)["mae"]
    assert gap["mae"].high - gap["mae"].low < 0.1 * (own.high - own.low)  # the shared luck cancels
    assert "bias" not in gap
    assert set(regression_differences(y, quantiles, quantiles, levels=LEVELS)) == {*gap, "pinball"}


def test_the_interval_of_the_mean_error_covers_about_as_often_as_it_says():
    hits = 0
    for seed in range(60):
        y = np.random.default_rng(seed).exponential(size=150)
        interval = regression_metrics(y, np.zeros(150), n_bootstrap=200, seed=seed)["mae"]
        hits += interval.low <= 1.0 <= interval.high
    assert hits >= 50


@settings(max_examples=60, deadline=None)
@given(arrays(float, (7,), elements=NUMBERS), arrays(float, (7,), elements=NUMBERS), st.sampled_from([1.0, 100.0]))
def test_errors_scale_with_the_unit(y, answer, unit):
    one, other = (regression_metrics(k * y, k * answer, n_bootstrap=0) for k in (1.0, unit))
    for name in ("mae", "rmse", "median_absolute_error", "bias"):
        assert other[name].value == pytest.approx(unit * one[name].value, rel=1e-9, abs=1e-6)
    assert one["mae"].value <= one["rmse"].value * (1 + 1e-12) + 1e-12


def test_equal_targets_have_no_r2_and_one_row_has_nothing():
    found = regression_metrics([2.0, 2.0, 2.0], [1.0, 2.0, 3.0])
    assert not found["r2"].is_defined and found["mae"].value == pytest.approx(2 / 3)
    assert not any(one.is_defined for one in regression_metrics([1.0], [1.0]).values())


def test_a_huge_offset_keeps_r2():
    y, quantiles = make()
    near, far = (regression_metrics(y + k, quantiles[:, 2] + k, n_bootstrap=0)["r2"].value for k in (0.0, 1e9))
    assert far == pytest.approx(near, rel=1e-4)


def test_pairs_are_symmetric_levels():
    assert coverage_pairs((0.05, 0.5, 0.95)) == {"coverage_90": (0, 2)}
    assert coverage_pairs((0.1, 0.5)) == {}


def test_what_cannot_be_judged_is_refused():
    with pytest.raises(DataError, match="do not fit"):
        regression_metrics([1.0, 2.0], [1.0])
    with pytest.raises(DataError, match="NaN or infinite"):
        regression_metrics([1.0, np.nan], [1.0, 2.0])
    with pytest.raises(ConfigError, match=r"0\.5"):
        regression_metrics([1.0, 2.0], [[1.0, 2.0]] * 2, levels=(0.1, 0.9))
