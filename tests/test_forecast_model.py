"""Forecasting from a table to answers: parts, the future unseen, saving, new and short series."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from habitus.backbones import GRU
from habitus.data.series.split import SeriesSplit
from habitus.data.series.table import SeriesData
from habitus.errors import ConfigError, DataError
from habitus.model import BACKBONES, SequenceModel, load
from habitus.model import forecast as forecast_module
from habitus.model.forecast import ForecastModel, ForecastOptions
from habitus.tasks.forecast import Forecast
from habitus.training import Training

START = datetime(2024, 1, 1, tzinfo=UTC)
RIVALS = ("last value", "seasonal naive", "linear")
N = 240


def made(n=N, names=("a", "b", "c"), seed=0):
    """Series with a daily rhythm, one of them with gaps."""
    rng, hour = np.random.default_rng(seed), np.arange(n)
    frames = []
    for number, name in enumerate(names):
        load = 10 * (number + 1) + 3 * np.sin(2 * np.pi * hour / 24 + number) + rng.normal(0, 0.3, n)
        times = [START + timedelta(hours=int(h)) for h in hour]
        frames.append(pl.DataFrame({"series_id": name, "timestamp": times, "load": load, "cost": load**2}))
    frames[0] = frames[0].filter(~pl.col("timestamp").dt.day().is_in([3]))
    return pl.concat(frames)


def build(backbone=None, values=("load",), baselines=RIVALS, **options):
    return SequenceModel(
        Forecast(values, horizon=6, context=24, **options),
        backbone or GRU(hidden_size=8, dropout=0.0),
        data=SeriesData(),
        split=SeriesSplit(stride=2),
        training=Training(epochs=1, batch_rows=32, tracker=None, device="cpu"),
        options=ForecastOptions(windows_per_epoch=100, baselines=baselines),
    )


@pytest.fixture(scope="module")
def fitted():
    log = made()
    return build().fit(log), log


def test_a_forecast_is_judged_beside_its_rivals(fitted):
    model, _ = fitted
    found = model.evaluation_.to_json()
    assert found["unit"] == "origins" and found["protocol"]["mase_season"] == 24
    assert {"mase", "mse", "mae", "crps", "smape"} <= set(found["metrics"])
    assert list(found["baselines"]) == list(RIVALS) and "model - linear" in found["differences"]
    assert model.evaluation_.metrics["mae"].value < model.evaluation_.baselines["last value"]["mae"].value
    kinds = [panel["kind"] for panel in model.evaluation_.panels]
    assert kinds == ["lines", "lines", "table"]
    forecast = model.evaluation_.panels[0]["lines"][1]
    assert len(forecast["y"]) == len(forecast["low"]) == len(forecast["high"]) == 6


def test_predictions_have_a_row_for_each_series_and_future_step(fitted):
    model, log = fitted
    answers = model.predict(log)
    assert answers.height == 3 * 6 and answers.columns[:3] == ["series_id", "timestamp", "prediction"]
    first = answers.filter(pl.col("series_id") == "b")["timestamp"].to_list()
    assert first == [START + timedelta(hours=N + k) for k in range(6)]
    quantiles = answers.select(pl.col("^quantile_.*$")).to_numpy()
    assert quantiles.shape[1] == 9 and (np.diff(quantiles, axis=1) > 0).all()
    np.testing.assert_array_equal(answers["prediction"], answers["quantile_0.5"])


def test_what_comes_after_the_origin_changes_no_answer(fitted):
    model, log = fitted
    prepared = model.read(log)
    moment = START + timedelta(hours=200)
    other = log.with_columns(load=pl.when(pl.col("timestamp") < moment).then("load").otherwise(pl.col("load") * 9 - 5))
    again = model.read(other)
    times = prepared.rows.table.time_us[prepared.rows.at]
    before = np.flatnonzero(times <= round(moment.timestamp() * 1e6))
    assert len(before) > 50
    for answering in (model, *model.baselines_):
        one, two = (answering.answer(rows.take(before)).quantiles for rows in (prepared.rows, again.rows))
        np.testing.assert_array_equal(one, two)


def test_training_sees_nothing_of_validation_and_test():
    log = made()
    border = START + timedelta(hours=round(0.7 * N))
    other = log.with_columns(load=pl.when(pl.col("timestamp") < border).then("load").otherwise(pl.col("load") * 50))
    one, two = (build().prepare(table) for table in (log, other))
    np.testing.assert_array_equal(one.encoder.scales.scale, two.encoder.scales.scale)
    for name in ("contexts", "targets"):
        np.testing.assert_array_equal(getattr(one.of("train"), name)(), getattr(two.of("train"), name)())


def test_a_saved_model_answers_the_same(fitted, tmp_path):
    model, log = fitted
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert isinstance(again, ForecastModel) and again.task == model.task
    assert again.predict(log).equals(model.predict(log))
    one, two = (m.evaluate(log) for m in (model, again))
    assert one.metrics == two.metrics and one.baselines == two.baselines


def test_an_evaluation_leaves_out_what_was_learned(fitted):
    model, log = fitted
    found = model.evaluate(log)
    assert found.n == model.evaluation_.n and any("used in training and are left out" in note for note in found.notes)
    assert found.metrics == model.evaluation_.metrics
    early = log.filter(pl.col("timestamp") < START + timedelta(hours=150))
    with pytest.raises(DataError, match="include"):
        model.evaluate(early)


def test_a_series_forecasts_the_same_alone_and_among_others(fitted):
    model, log = fitted
    everyone = model.predict(log).filter(pl.col("series_id") == "c")
    alone = model.predict(log.filter(pl.col("series_id") == "c"))
    np.testing.assert_allclose(alone["prediction"], everyone["prediction"], rtol=1e-5)


def test_new_short_and_empty_series_are_answered_and_said(fitted):
    model, log = fitted
    short = made(5, names=("short",))
    unknown = pl.DataFrame(
        {
            "series_id": ["empty"] * 2,
            "timestamp": [START, START + timedelta(hours=1)],
            "load": [None, None],
            "cost": [1.0, 2.0],
        },
        schema_overrides={"load": pl.Float64},
    )
    answers = model.predict(pl.concat([log.filter(pl.col("series_id") == "b"), short, unknown]))
    assert answers.filter(pl.col("series_id") == "short")["prediction"].is_finite().all()
    assert answers.filter(pl.col("series_id") == "empty")["prediction"].null_count() == 6
    assert any("no value at all" in note for note in model.notes_)
    assert any("are new" in note for note in model.read(made(names=("new",))).notes)


def test_units_do_not_matter(fitted):
    """A series in thousands is forecast in thousands: the scaling goes both ways."""
    model, log = fitted
    thousands = log.filter(pl.col("series_id") == "b").with_columns(series_id=pl.lit("new"))
    one = model.predict(thousands)["prediction"].to_numpy()
    two = model.predict(thousands.with_columns(pl.col("load") * 1000))["prediction"].to_numpy()
    np.testing.assert_allclose(two, one * 1000, rtol=1e-4)


@pytest.mark.parametrize("name", list(BACKBONES))
def test_every_backbone_forecasts_several_variables(name):
    backbone = BACKBONES[name](hidden_size=8, **ForecastModel.backbone_defaults(None, name))
    joint = name == "gru"
    model = build(
        backbone, values=("load", "cost"), baselines=("last value",),
        variables="joint" if joint else "independent", loss="mse" if name == "rnn" else "quantile",
    ).fit(made(120, names=("a",)))  # fmt: skip
    answers = model.predict(made(120, names=("a",)))
    assert answers["variable"].to_list() == ["load", "cost"] * 6
    assert ("quantile_0.9" in answers.columns) == (name != "rnn")
    assert model.evaluation_.panels[2]["title"] == "Error by variable"


def test_a_missing_extra_is_said_and_its_rival_left_out(monkeypatch):
    monkeypatch.setattr(forecast_module, "has_statsforecast", lambda: False)
    model = build(baselines=("last value", "ets")).fit(made(120, names=("a",)))
    assert list(model.evaluation_.baselines) == ["last value"]
    assert any("habitus[forecast]" in note for note in model.evaluation_.notes)


def test_what_cannot_be_right_is_refused():
    with pytest.raises(ConfigError, match="no rival 'arima'"):
        ForecastOptions(baselines=("arima",))
    with pytest.raises(DataError, match="leaves nothing to learn from"):
        build().fit(made(8))
