"""Bands partition the rows, keep ties together and agree with the metrics."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from habitus.errors import ConfigError
from habitus.metrics import classification_metrics, reliability_curve, score_bands, wilson


def honest(n, seed=0):
    random = np.random.default_rng(seed)
    probability = random.random(n)
    return (random.random(n) < probability).astype(int), probability


def test_ten_bands_of_a_thousand_rows():
    target, probability = honest(1000)
    bands = score_bands(target, probability)
    order = np.argsort(-probability)
    assert [band.n for band in bands] == [100] * 10 and [band.band for band in bands] == list(range(1, 11))
    for number, band in enumerate(bands):
        inside = order[number * 100 : number * 100 + 100]
        assert band.positives == target[inside].sum()
        assert band.predicted == pytest.approx(probability[inside].mean())
        assert band.observed == wilson(band.positives, 100)
        assert band.capture == pytest.approx(target[order[: number * 100 + 100]].sum() / target.sum())
        assert band.lift == pytest.approx(band.observed.value / target.mean())
    assert bands[-1].capture == 1 and bands[-1].ks == pytest.approx(0)
    assert bands[0].observed.low > bands[-1].observed.high  # the highest scores come first


def test_the_largest_band_ks_is_at_most_the_ks_and_equals_it_with_a_band_per_row():
    target, probability = honest(80)
    ks = classification_metrics(target, probability, n_bootstrap=0)["ks"].value
    assert max(band.ks for band in score_bands(target, probability)) <= ks + 1e-12
    assert max(abs(band.ks) for band in score_bands(target, probability, n_bands=80)) == pytest.approx(ks)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 5)), min_size=1, max_size=40), st.integers(1, 12))
def test_bands_and_bins_never_split_equal_scores_and_lose_no_row(pairs, n_bands):
    target, tenths = (np.array(column) for column in zip(*pairs, strict=True))
    bands = score_bands(target, tenths / 10, n_bands)
    points = reliability_curve(target, tenths / 10, n_bands)
    assert sum(band.n for band in bands) == sum(point.n for point in points) == len(pairs)
    assert len(bands) <= n_bands and len(points) <= n_bands
    assert all(upper.lowest > lower.highest for upper, lower in itertools.pairwise(bands))
    assert sum(band.positives for band in bands) == target.sum()
    json.dumps([band.to_json() for band in bands] + [point.to_json() for point in points], allow_nan=False)


def test_one_class_gives_null_capture_and_no_rows_give_no_bands():
    band = score_bands([0, 0], [0.1, 0.2], n_bands=1)[0].to_json()
    assert band["capture"] is None and band["ks"] is None and band["observed"]["value"] == 0
    assert score_bands([], []) == [] and reliability_curve([], []) == []
    with pytest.raises(ConfigError, match="usually 10"):
        score_bands([0, 1], [0.1, 0.2], n_bands=0)


def test_reliability_covers_an_honest_model_and_exposes_an_overconfident_one():
    target, probability = honest(4000)
    honest_points = reliability_curve(target, probability)
    assert sum(p.observed.low <= p.predicted <= p.observed.high for p in honest_points) >= 8
    sharpened = probability**3 / (probability**3 + (1 - probability) ** 3)
    points = reliability_curve(target, sharpened)
    assert sum(p.observed.low <= p.predicted <= p.observed.high for p in points) <= 4
    assert [p.predicted for p in points] == sorted(p.predicted for p in points)
