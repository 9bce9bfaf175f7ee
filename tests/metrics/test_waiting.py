"""Waiting times are judged beside the constant median, on the same rows and resamples."""

import json

import numpy as np
import pytest

from habitus.errors import DataError
from habitus.metrics.waiting import time_metrics

NAMES = ["mae_days", "baseline_mae_days", "mae_difference_days", "log_likelihood"]


def gaps(n=400, seed=0):
    random = np.random.default_rng(seed)
    level = random.normal(1, 1.5, n)
    return np.exp(level + random.normal(0, 0.5, n)), np.exp(level), random.normal(-2, 1, n)


def test_means_are_the_numpy_means_and_lie_in_their_intervals():
    target, predicted, nats = gaps()
    found = time_metrics(target, predicted, nats, baseline_median=3.0)
    assert list(found) == NAMES
    model, constant = np.abs(predicted - target), np.abs(3.0 - target)
    expected = [model.mean(), constant.mean(), (model - constant).mean(), nats.mean()]
    assert [found[name].value for name in NAMES] == pytest.approx(expected)
    assert all(interval.low < interval.value < interval.high for interval in found.values())


def test_intervals_have_about_the_width_of_the_normal_ones():
    target, predicted, nats = gaps(n=2000)
    found = time_metrics(target, predicted, nats, baseline_median=3.0, n_bootstrap=2000)
    normal = 2 * 1.96 * nats.std() / np.sqrt(len(nats))
    assert found["log_likelihood"].high - found["log_likelihood"].low == pytest.approx(normal, rel=0.1)


def test_the_difference_is_paired():
    target = gaps()[0]
    found = time_metrics(target, np.full(len(target), 3.0), None, baseline_median=3.0)
    difference = found["mae_difference_days"]
    assert (difference.value, difference.low, difference.high) == (0, 0, 0)
    nearly = time_metrics(target, np.full(len(target), 2.9), None, baseline_median=3.0)["mae_difference_days"]
    assert nearly.high - nearly.low < 0.05  # the rows' own spread cancels


def test_without_a_density_rows_or_resamples_numbers_are_left_open():
    target, predicted, nats = gaps(n=5)
    assert not time_metrics(target, predicted, None, 3.0)["log_likelihood"].is_defined
    empty = time_metrics([], [], [], 3.0)
    assert list(empty) == NAMES and not any(interval.is_defined for interval in empty.values())
    quick = time_metrics(target, predicted, nats, 3.0, n_bootstrap=0)["mae_days"]
    assert quick.is_defined and np.isnan(quick.low)


def test_an_event_held_impossible_makes_the_likelihood_infinite_and_leaves_the_rest():
    found = time_metrics([1.0, 2.0], [1.0, 1.0], [-np.inf, -1.0], 1.0)
    assert found["log_likelihood"].value == -np.inf and np.isnan(found["log_likelihood"].low)
    assert found["mae_days"].value == 0.5 and np.isfinite(found["mae_days"].low)
    json.dumps({name: interval.to_json() for name, interval in found.items()}, allow_nan=False)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (([1.0, -2.0], [1.0, 1.0], None, 1.0), "0 or more"),
        (([1.0, 2.0], [1.0], None, 1.0), "predicted_days has shape"),
        (([1.0, 2.0], [1.0, np.nan], None, 1.0), "row 1"),
        (([1.0, 2.0], [1.0, 1.0], [np.inf, 0.0], 1.0), "row 0"),
        (([1.0], [1.0], None, float("nan")), "baseline_median"),
    ],
)
def test_what_cannot_be_judged_is_refused(arguments, says):
    with pytest.raises(DataError, match=says):
        time_metrics(*arguments)
