"""Rivals of forecasts beside loops and least squares."""

import os
from pathlib import Path

import numpy as np
import pytest

from habitus.baselines.forecast import ETS, FORECAST_RIVALS, LastValue, Linear, SeasonalNaive, has_statsforecast
from habitus.baselines.forecast.linear import predicted
from habitus.data.series.encoder import SeriesEncoder
from habitus.data.series.read import read_series
from habitus.data.series.split import SeriesSplit
from habitus.data.series.step import Step
from habitus.data.series.table import SeriesData, SeriesTable

HOUR = 3_600_000_000
ETTH1 = Path(os.environ.get("HABITUS_DATA", "../shared/data")) / "etth1" / "ETTh1.csv"


@pytest.fixture(scope="module")
def parts():
    """Training, validation and test origins of two series with a season of 4."""
    rng = np.random.default_rng(0)
    n = 160
    values = np.sin(2 * np.pi * np.arange(n) / 4)[:, None] * [1, 5] + rng.normal(0, 0.1, (n, 2)) + [0, 30]
    values = np.concatenate([values, values[:, ::-1]])
    values[[20, 21, 50]] = np.nan
    times = np.tile(np.arange(n) * HOUR, 2)
    table = SeriesTable(("a", "b"), ("x", "y"), np.array([0, n, 2 * n]), values, times, Step.parse("1h"))
    borders = SeriesSplit(validation=0.2, test=0.2).borders(table)
    encoder = SeriesEncoder.fit(table, SeriesData(season=4), borders, horizon=6, context=8)
    until, test, end = borders
    return [
        encoder.origins(table, *encoder.between(table, *part, most=10_000)[:2])
        for part in ((0, until), (until, test), (test, end))
    ]


def test_the_last_value_and_the_last_season_are_those_of_a_loop(parts):
    train, validation, test = parts
    last, seasonal = LastValue().fit(train, validation), SeasonalNaive().fit(train, validation)
    season = seasonal.season_
    assert season in (4, 24)  # a day of hours is a whole number of seasons, too
    values = test.table.filled(4)
    for i in (0, len(test) - 1):
        at = test.at[i]
        np.testing.assert_allclose(last.points(test)[i], np.tile(values[at - 1], (6, 1)), rtol=1e-5)
        expected = [values[at - season + k % season] for k in range(6)]
        np.testing.assert_allclose(seasonal.points(test)[i], expected, rtol=1e-5)


def test_the_line_is_that_of_a_ridge_regression(parts):
    from sklearn.linear_model import Ridge

    train, validation, test = parts
    line = Linear().fit(train, validation)
    context = train.contexts()
    places, _ = train.context_steps()
    seen = train.table.seen[places]
    mean = np.where(seen, context, 0).sum(1, keepdims=True) / seen.sum(1, keepdims=True)
    x = (context - mean).transpose(0, 2, 1).reshape(-1, 8)
    y = (train.filled[train.target_steps()] - mean).transpose(0, 2, 1).reshape(-1, 6)
    alphas = [strength * np.trace(x.T @ x) / 8 for strength in (1e-4, 1e-3, 1e-2, 1e-1, 1.0)]
    found = [Ridge(alpha=alpha, fit_intercept=False).fit(x, y).coef_.T for alpha in alphas]
    assert min(np.abs(line.weights_ - weights).max() for weights in found) < 1e-3
    np.testing.assert_allclose(
        line.points(test), predicted(test, line.weights_) * test.scale[:, None] + test.center[:, None]
    )


@pytest.mark.parametrize("kind", [LastValue, SeasonalNaive, Linear])
def test_a_rival_answers_the_same_after_its_state_is_restored(kind, parts):
    train, validation, test = parts
    rival = kind().fit(train, validation)
    again = kind.from_state(*rival.to_state())
    one, two = rival.answer(test), again.answer(test)
    np.testing.assert_array_equal(one.quantiles, two.quantiles)
    assert one.point.shape == (len(test), 6, 2) and (np.diff(one.quantiles, axis=-1) >= 0).all()


def test_quantiles_hold_their_share_of_the_training_errors(parts):
    train, validation, _ = parts
    answer = SeasonalNaive().fit(train, validation).answer(train)
    truth = train.targets()
    inside = (truth >= answer.quantiles[..., 0]) & (truth <= answer.quantiles[..., -1])
    assert np.mean(inside[~np.isnan(truth)]) == pytest.approx(0.8, abs=0.03)


@pytest.mark.skipif(not has_statsforecast(), reason="needs the extra forecast")
def test_exponential_smoothing_answers_some_origins_as_the_package_does(parts):
    from statsforecast.models import AutoETS

    train, validation, test = parts
    answer = ETS().fit(train, validation).answer(test)
    done = ~np.isnan(answer.point).any(axis=(1, 2))
    assert 10 <= done.sum() <= 30
    i = int(np.flatnonzero(done)[0])
    values = test.table.filled(4)
    past = values[max(0, test.at[i] - 28) : test.at[i], 1]
    expected = AutoETS(season_length=4).forecast(y=past, h=6)["mean"]
    np.testing.assert_allclose(answer.point[i, :, 1], expected, rtol=1e-4)


def test_all_rivals_are_registered():
    assert list(FORECAST_RIVALS) == ["last value", "seasonal naive", "linear", "ets"]


@pytest.mark.skipif(not ETTH1.exists(), reason="ETTh1 is not here")
def test_repeating_the_last_value_gives_the_published_figures():
    """Zeng et al. 2023 (arXiv:2205.13504), table 2, Repeat, ETTh1, 96 hours: MSE 1.295, MAE 0.713."""
    table = read_series(ETTH1, data=SeriesData(time_zone="UTC"))
    borders = SeriesSplit(train_steps=8640, validation_steps=2880, test_steps=2880).borders(table)
    encoder = SeriesEncoder.fit(table, SeriesData(), borders, horizon=96, context=336)
    test = encoder.origins(table, *encoder.between(table, *borders[1:], most=5_000)[:2])
    error = (LastValue().points(test) - test.targets()) / test.scale[:, None]
    assert len(test) == 2785
    assert np.mean(error**2) == pytest.approx(1.295, abs=1e-3)
    assert np.mean(np.abs(error)) == pytest.approx(0.713, abs=1e-3)
