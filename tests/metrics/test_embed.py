"""Correlations and ranks beside SciPy and a loop."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from habitus.metrics.embed import rank_differences, rank_metrics, score_differences, score_metrics, spearman


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=30))
def test_spearman_with_ties_is_that_of_scipy(pairs):
    one, two = (np.array(side, float) for side in zip(*pairs, strict=True))
    if np.ptp(one) and np.ptp(two):
        assert spearman(one, two) == pytest.approx(stats.spearmanr(one, two).statistic, abs=1e-9)
    else:
        assert np.isnan(spearman(one, two))


def test_a_resample_ranks_anew_as_if_rows_were_copied():
    rng = np.random.default_rng(0)
    one, two = rng.integers(0, 9, 40).astype(float), rng.normal(size=40)
    found = score_metrics(one, two)
    draws = []
    for _ in range(500):
        rows = rng.integers(0, 40, 40)
        draws.append(stats.spearmanr(one[rows], two[rows]).statistic)
    low, high = np.quantile(draws, [0.025, 0.975])
    assert found["spearman"].low == pytest.approx(low, abs=0.06)
    assert found["spearman"].high == pytest.approx(high, abs=0.06)
    assert found["pearson"].value == pytest.approx(stats.pearsonr(one, two).statistic)


def test_a_better_answer_has_a_positive_paired_difference():
    rng = np.random.default_rng(1)
    truth = rng.normal(size=200)
    gap = score_differences(truth, truth + 0.1 * rng.normal(size=200), rng.normal(size=200))["spearman"]
    assert gap.low > 0.5
    gap = rank_differences(np.ones(50), np.full(50, 4.0))["mrr"]
    assert (gap.value, gap.low, gap.high) == (0.75, 0.75, 0.75)


def test_units_without_a_rank_are_not_counted():
    with_gap = rank_metrics(np.array([1.0, np.nan, 4.0]))
    assert {name: one.value for name, one in with_gap.items()} == {
        name: one.value for name, one in rank_metrics(np.array([1.0, 4.0])).items()
    }
    assert not rank_metrics(np.array([np.nan]))["mrr"].is_defined
