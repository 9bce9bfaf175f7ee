"""Wilson by hand, resamples as counts, the three bootstrap intervals."""

import json
import math

import numpy as np
import pytest
from scipy.stats import binom

from habitus.metrics import Interval, wilson
from habitus.metrics.intervals import bootstrap_interval, log_odds_interval, reflected_interval, resamples


def test_wilson_by_hand():
    # 8 of 10, z = 1.959964: (.8 + z^2/20 -+ z sqrt(.016 + z^2/400)) / (1 + z^2/10)
    z2 = 1.959964**2
    half = 1.959964 * math.sqrt(0.8 * 0.2 / 10 + z2 / 400)
    found = wilson(8, 10)
    assert found.low == pytest.approx((0.8 + z2 / 20 - half) / (1 + z2 / 10), abs=1e-6)
    assert found.high == pytest.approx((0.8 + z2 / 20 + half) / (1 + z2 / 10), abs=1e-6)
    assert (round(found.low, 4), round(found.high, 4)) == (0.4902, 0.9433)
    assert found.low != pytest.approx(0.8 - 1.96 * math.sqrt(0.016), abs=0.01)  # the bite: the Wald interval


def test_wilson_ends_solve_the_score_equation():
    found = wilson(3, 50, confidence=0.9)
    for end in (found.low, found.high):
        assert abs(3 / 50 - end) / math.sqrt(end * (1 - end) / 50) == pytest.approx(1.6448536, abs=1e-6)


@pytest.mark.parametrize(("successes", "n"), [(0, 5), (5, 5), (0, 1), (1, 3)])
def test_wilson_stays_inside_and_is_never_certain(successes, n):
    found = wilson(successes, n)
    assert 0 <= found.low <= found.value <= found.high <= 1 and found.high - found.low > 0.3


def test_wilson_covers_on_average_where_wald_does_not():
    weights = binom.pmf(np.arange(31), 30, 0.05)
    intervals = [wilson(k, 30) for k in range(31)]
    covered = sum(w for w, i in zip(weights, intervals, strict=True) if i.low <= 0.05 <= i.high)
    wald = sum(w for k, w in enumerate(weights) if abs(k / 30 - 0.05) <= 1.96 * math.sqrt(k / 30 * (1 - k / 30) / 30))
    assert covered > 0.93 > wald


def test_no_rows_are_undefined():
    assert not wilson(0, 0).is_defined


def test_intervals_travel_through_json():
    found = Interval(0.5, 0.25, math.nan)
    back = Interval.from_json(json.loads(json.dumps(found.to_json(), allow_nan=False)))
    assert (back.value, back.low) == (0.5, 0.25) and math.isnan(back.high)
    assert str(Interval.undefined()) == "undefined"
    with pytest.raises(AttributeError):
        found.value = 1.0  # type: ignore[misc]


def test_resamples_are_counts_of_drawn_rows():
    blocks = list(resamples(50, 2000, seed=1))
    weights = np.concatenate(blocks)
    assert weights.shape == (2000, 50) and (weights.sum(axis=1) == 50).all()
    # multinomial: mean 1, variance 1 - 1/50, covariance -1/50
    assert weights.mean(axis=0) == pytest.approx(np.ones(50), abs=0.12)
    assert weights.var() == pytest.approx(0.98, abs=0.02)
    assert np.cov(weights[:, 0], weights[:, 1])[0, 1] == pytest.approx(-0.02, abs=0.08)


def test_resamples_repeat_by_seed_and_come_in_blocks():
    first, again, other = (np.concatenate(list(resamples(9000, 20, seed))) for seed in (0, 0, 1))
    assert len(list(resamples(9000, 20))) > 1 and first.shape == (20, 9000)
    assert (first == again).all() and (first != other).any()
    assert not list(resamples(5, 0)) and not list(resamples(0, 5))


def test_the_bootstrap_of_a_mean_has_its_standard_error():
    sample = np.random.default_rng(0).normal(size=100)
    draws = np.concatenate(list(resamples(100, 4000))) @ sample / 100
    found = bootstrap_interval(float(sample.mean()), draws)
    assert found.high - found.low == pytest.approx(2 * 1.96 * sample.std() / 10, rel=0.06)


def test_reflection_takes_out_the_push_of_noise():
    draws = np.linspace(0.5, 0.7, 201)  # every resample above the value: pushed up
    pushed, reflected = bootstrap_interval(0.5, draws), reflected_interval(0.5, draws)
    assert pushed.low == 0.5 and reflected.low < 0.25 and reflected.high == 0.5


@pytest.mark.parametrize("interval", [bootstrap_interval, reflected_interval, log_odds_interval])
def test_undefined_draws_are_left_out_and_none_left_leave_the_ends_open(interval):
    draws = np.array([0.4, np.nan, 0.5, 0.6])
    assert interval(0.5, draws) == interval(0.5, draws[[0, 2, 3]])
    open_ended = interval(0.5, np.full(3, np.nan))
    assert open_ended.value == 0.5 and math.isnan(open_ended.low)
    assert not interval(math.nan, draws).is_defined


def test_log_odds_ends_stay_inside_and_are_asymmetric():
    found = log_odds_interval(0.98, np.array([0.9, 0.95, 0.98, 0.99, 0.999]))
    assert found.high < 1 and found.value - found.low > 3 * (found.high - found.value)
