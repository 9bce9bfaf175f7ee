"""Forecast metrics beside loops and numbers by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from habitus.data.series.forecasts import DECILES, Answer, Truth
from habitus.errors import DataError
from habitus.metrics.forecast import (
    METRICS,
    _block_weights,
    errors_by_step,
    forecast_differences,
    forecast_metrics,
    n_answered,
)

RNG = np.random.default_rng(0)
N, K, V = 12, 3, 2


def made(with_gaps=True):
    values = RNG.normal(5, 2, (N, K, V))
    if with_gaps:
        values[0, 1, 0] = values[5] = np.nan
    truth = Truth(
        values, RNG.normal(size=(N, V)), RNG.uniform(1, 2, (N, V)), RNG.uniform(1, 2, (N, V)), np.arange(N) // 4, 2
    )
    quantiles = np.sort(RNG.normal(5, 2, (N, K, V, 9)), axis=-1)
    return truth, Answer(quantiles[..., 4], quantiles, DECILES)


def by_loops(truth, answer):
    terms = {name: [] for name in METRICS}
    for i, k, v in np.ndindex(N, K, V):
        y, f = truth.values[i, k, v], answer.point[i, k, v]
        if np.isnan(y):
            continue
        q, scale = answer.quantiles[i, k, v], truth.scale[i, v]
        pinballs = [max(level * (y - one), (level - 1) * (y - one)) for level, one in zip(DECILES, q, strict=True)]
        terms["mase"].append(abs(y - f) / truth.naive[i, v])
        terms["mse"].append(((y - f) / scale) ** 2)
        terms["mae"].append(abs(y - f) / scale)
        terms["crps"].append(2 * sum(pinballs) / 9 / scale)
        terms["smape"].append(200 * abs(y - f) / (abs(y) + abs(f)))
        terms["coverage_80"].append(q[0] <= y <= q[8])
        terms["mse_own"].append((y - f) ** 2)
        terms["mae_own"].append(abs(y - f))
    return {name: np.mean(found) for name, found in terms.items()}


def test_every_metric_is_that_of_a_loop():
    truth, answer = made()
    found, expected = forecast_metrics(truth, answer), by_loops(truth, answer)
    for name in METRICS:
        assert found[name].value == pytest.approx(expected[name]), name
        assert found[name].low <= found[name].value <= found[name].high


def test_by_hand():
    # naive scale: mean |difference| of 1, 2, 4 is 1.5; errors 1 and 2
    truth = Truth(np.array([[[2.0], [4.0]]]), np.zeros((1, 1)), np.ones((1, 1)), np.full((1, 1), 1.5), np.zeros(1, int))
    found = forecast_metrics(truth, Answer(np.array([[[3.0], [2.0]]])))
    assert found["mase"].value == pytest.approx(1.0)
    assert found["smape"].value == pytest.approx((200 * 1 / 5 + 200 * 2 / 6) / 2)
    assert found["crps"].value == found["mae"].value == pytest.approx(1.5)  # a forecast without quantiles
    assert not found["coverage_80"].is_defined


def test_crps_of_many_quantiles_nears_that_of_the_normal():
    # CRPS of N(0, 1) at 0 is (sqrt(2) - 1) / sqrt(pi), Gneiting & Raftery 2007
    from scipy.stats import norm

    levels = tuple((np.arange(999) + 1) / 1000)
    truth = Truth(np.zeros((1, 1, 1)), np.zeros((1, 1)), np.ones((1, 1)), np.ones((1, 1)), np.zeros(1, int))
    answer = Answer(np.zeros((1, 1, 1)), norm.ppf(levels)[None, None, None], levels)
    assert forecast_metrics(truth, answer)["crps"].value == pytest.approx((2**0.5 - 1) / np.pi**0.5, abs=1e-3)


def test_differences_are_paired_on_what_both_answered():
    truth, answer = made(with_gaps=False)
    some = answer.point + 1
    some[3:] = np.nan
    found = forecast_differences(truth, answer, Answer(some))
    first = Truth(truth.values[:3], truth.center[:3], truth.scale[:3], truth.naive[:3], truth.series[:3])
    mine, other = (forecast_metrics(first, Answer(one[:3]))["mae"].value for one in (answer.point, some))
    assert found["mae"].value == pytest.approx(mine - other)
    assert n_answered(truth, Answer(some)) == 3
    same = forecast_differences(truth, answer, answer)["mase"]
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_errors_by_step_average_over_origins_and_variables():
    truth, answer = made()
    error = np.abs(truth.values - answer.point) / truth.scale[:, None]
    np.testing.assert_allclose(errors_by_step(truth, answer), np.nanmean(error, axis=(0, 2)))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 60))
def test_blocks_are_runs_of_neighbours_around_a_circle(n, block):
    weights = _block_weights(np.random.default_rng(0), 5, n, block)
    size = max(1, min(block, n // 3))
    assert weights.shape == (5, n) and (weights.sum(axis=1) == max(1, round(n / size)) * size).all()


def test_blocks_are_wider_than_origins_drawn_alone():
    error = np.repeat(RNG.normal(size=30), 10)  # neighbours share their error
    values = np.abs(error)[:, None, None]
    rest = (np.zeros((300, 1)), np.ones((300, 1)), np.ones((300, 1)), np.zeros(300, int))
    widths = []
    for block in (1, 10):
        found = forecast_metrics(Truth(values, *rest, block), Answer(np.zeros((300, 1, 1))))["mae"]
        widths.append(found.high - found.low)
    assert widths[1] > 2 * widths[0]


def test_shapes_that_do_not_agree_are_refused():
    truth, answer = made()
    with pytest.raises(DataError, match="must agree"):
        forecast_metrics(truth, Answer(answer.point[:2]))
