"""DeLong against the quadratic definition, the bootstrap and a simulation."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata

from habitus.metrics import auc_difference, auc_interval, delong
from habitus.metrics.delong import midranks


def naive_delong(target, scores):
    """DeLong 1988, eq. 1-6, pair by pair."""
    above, below = [], []
    for line in scores:
        positives = [s for s, t in zip(line, target, strict=True) if t]
        negatives = [s for s, t in zip(line, target, strict=True) if not t]
        wins = np.array([[(p > n) + 0.5 * (p == n) for n in negatives] for p in positives])
        above.append(wins.mean(axis=1))
        below.append(wins.mean(axis=0))
    covariance = np.zeros((len(scores), len(scores)))
    for a, b in itertools.product(range(len(scores)), repeat=2):
        for part in (above, below):
            x, y = part[a], part[b]
            covariance[a, b] += ((x - x.mean()) * (y - y.mean())).sum() / (len(x) - 1) / len(x)
    return np.array([part.mean() for part in above]), covariance


def pair_of_models(n, seed):
    random = np.random.default_rng(seed)
    hidden = random.normal(size=n)
    target = (hidden + random.normal(size=n) > 0).astype(int)
    return target, hidden + random.normal(size=n), hidden + 2 * random.normal(size=n)


tied_rows = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 6), st.integers(0, 6)), min_size=4, max_size=30)


@settings(max_examples=100, deadline=None)
@given(tied_rows.filter(lambda rows: 2 <= sum(row[0] for row in rows) <= len(rows) - 2))
def test_midrank_delong_equals_the_quadratic_loop(rows):
    target, a, b = (np.array(column) for column in zip(*rows, strict=True))
    aucs, covariance = delong(target, [a, b])
    expected_aucs, expected_covariance = naive_delong(target, [a, b])
    np.testing.assert_allclose(aucs, expected_aucs, atol=1e-12)
    np.testing.assert_allclose(covariance, expected_covariance, atol=1e-12)


def test_the_loop_sees_a_variance_without_the_correlation_of_the_models():
    target, a, b = pair_of_models(60, 0)
    _, covariance = delong(target, [a, b])
    assert abs(covariance[0, 1]) > 1e-4
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(np.diag(np.diag(covariance)), naive_delong(target, [a, b])[1], atol=1e-12)


def test_midranks_equal_scipy():
    given_scores = np.array([3.0, 1.0, 3.0, 3.0, -2.0, 1.0])
    assert midranks(given_scores).tolist() == rankdata(given_scores).tolist()


def test_delong_deviation_agrees_with_the_bootstrap():
    target, a, b = pair_of_models(400, 3)
    _, covariance = delong(target, [a, b])
    random, differences = np.random.default_rng(0), []
    for _ in range(600):
        drawn = random.integers(0, 400, 400)
        aucs, _ = delong(target[drawn], [a[drawn], b[drawn]])
        differences.append(aucs[0] - aucs[1])
    exact = math.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    assert np.std(differences) == pytest.approx(exact, rel=0.12)
    unpaired = math.sqrt(covariance[0, 0] + covariance[1, 1])
    assert np.std(differences) != pytest.approx(unpaired, rel=0.12)  # the bite

    found = auc_difference(target, a, b)
    assert found.high - found.value == pytest.approx(1.959964 * exact, rel=1e-6)
    assert found.value - found.low == pytest.approx(1.959964 * exact, rel=1e-6)


def test_intervals_cover_at_the_rate_asked_for_even_with_twenty_positives():
    # Normal scores one deviation apart: AUC = Phi(1 / sqrt 2)
    true, covered, narrow = 0.5 * (1 + math.erf(0.5)), 0, 0
    for seed in range(300):
        random = np.random.default_rng(seed)
        target = np.repeat([1, 0], [20, 60])
        score = random.normal(size=80) + target
        found = auc_interval(target, score)
        covered += found.low <= true <= found.high
        narrow += found.value - (found.value - found.low) / 2 <= true <= found.value + (found.high - found.value) / 2
    assert 0.91 <= covered / 300 <= 0.985, covered
    assert narrow / 300 < 0.85


def test_a_perfect_separation_gets_the_bound_of_independent_pairs():
    found = auc_interval([0, 0, 0, 0, 1, 1, 1], [1, 2, 3, 4, 5, 6, 7])
    assert (found.value, found.low, found.high) == (1.0, pytest.approx(0.025 ** (1 / 3)), 1.0)
    mirrored = auc_interval([1, 1, 1, 1, 0, 0, 0], [1, 2, 3, 4, 5, 6, 7])
    assert (mirrored.value, mirrored.low, mirrored.high) == (0.0, 0.0, pytest.approx(1 - 0.025 ** (1 / 3)))


def test_the_bound_of_a_perfect_separation_covers():
    # 4 against 4 rows, AUC .9: an interval that misses .9 after a perfect separation would miss too often
    shift, missed = math.sqrt(2) * 1.2815515655446004, 0
    for seed in range(400):
        score = np.random.default_rng(seed).normal(size=8) + np.repeat([shift, 0], 4)
        found = auc_interval(np.repeat([1, 0], 4), score)
        missed += not found.low <= 0.9 <= found.high
    assert missed / 400 <= 0.05, missed


def test_one_row_of_a_class_says_nothing_and_none_is_undefined():
    one = auc_interval([1, 0, 0], [0.9, 0.1, 0.2])
    assert (one.value, one.low, one.high) == (1.0, 0.0, 1.0)
    assert not auc_interval([0, 0, 0], [0.9, 0.1, 0.2]).is_defined
    assert not auc_difference([0, 0], [0.9, 0.1], [0.1, 0.9]).is_defined
    difference = auc_difference([1, 0, 0], [0.9, 0.1, 0.2], [0.1, 0.9, 0.05])
    assert (difference.value, difference.low, difference.high) == (0.5, -1.0, 1.0)


def test_only_the_order_of_scores_counts():
    target, a, b = pair_of_models(50, 1)
    assert auc_difference(target, a, b) == auc_difference(target, np.exp(a), b * 3 - 7)
    same = auc_difference(target, a, np.exp(a))
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)


def test_perfect_against_constant_is_not_called_certain():
    found = auc_difference([0, 0, 0, 1, 1, 1], [1, 2, 3, 4, 5, 6], [1] * 6)
    assert found.value == 0.5 and found.low < 0.3
