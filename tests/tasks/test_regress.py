"""Regress: losses equal scikit-learn's, quantiles do not cross, answers come back in the unit, nonsense is refused."""

import json

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import mean_pinball_loss

from habitus.errors import ConfigError, DataError
from habitus.tasks.regress import Regress

Y = np.array([0.0, 2.0, 3.0, 5.0, 40.0])
LEVELS = (0.1, 0.25, 0.5, 0.9)


def frame(values=Y, name="amount"):
    return pl.DataFrame({name: values})


def fitted(**options):
    task = Regress("amount", **options)
    task.fit_target(frame())
    return task


def outputs_of(task, answers):
    """The outputs of the network that stand for answers in the unit, (n,)."""
    return torch.tensor(task.aim_.to_scale(np.asarray(answers, float))[:, None], dtype=torch.float32)


def test_the_squared_loss_is_the_squared_error_in_deviations():
    task = fitted()
    loss = task.loss(outputs_of(task, [1.0] * 5), torch.tensor(Y, dtype=torch.float32))
    assert loss.numpy() == pytest.approx(((Y - 1) / Y.std()) ** 2, rel=1e-5)


def test_the_absolute_loss_is_the_error_in_quartile_ranges():
    task = fitted(loss="absolute")
    loss = task.loss(outputs_of(task, [1.0] * 5), torch.tensor(Y, dtype=torch.float32))
    assert loss.numpy() == pytest.approx(np.abs(Y - 1) / ((5 - 2) / 1.349), rel=1e-5)


def test_hubers_loss_is_half_the_square_near_and_a_line_far():
    task = fitted(loss="huber", huber_delta=2.0)
    error = np.abs(Y - 1) / (3 / 1.349)
    expected = np.where(error < 2, error**2 / 2, 2 * (error - 1))
    loss = task.loss(outputs_of(task, [1.0] * 5), torch.tensor(Y, dtype=torch.float32))
    assert loss.numpy() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("log", [False, True])
def test_the_quantile_loss_is_scikit_learns_on_the_decoded_scale(log):
    task = fitted(loss="quantile", quantiles=LEVELS, log=log)
    outputs = torch.randn(5, 4, generator=torch.Generator().manual_seed(0)) / 4
    loss = task.loss(outputs, torch.tensor(Y, dtype=torch.float32)).mean()
    scaled = task._ascending(outputs).numpy()
    truth = task.aim_.to_scale(Y)
    expected = np.mean([mean_pinball_loss(truth, scaled[:, k], alpha=level) for k, level in enumerate(LEVELS)])
    assert float(loss) == pytest.approx(expected, rel=1e-5)


@settings(max_examples=50, deadline=None)
@given(arrays(np.float32, (6, 4), elements=st.floats(-50, 50, width=32)))
def test_quantiles_never_cross(outputs):
    for log in (False, True):
        answer = fitted(loss="quantile", quantiles=LEVELS, log=log).decode(outputs)
        assert answer.shape == (6, 4) and (np.diff(answer, axis=1) >= 0).all() and np.isfinite(answer).all()


def test_training_the_head_alone_finds_the_quantiles():
    """An independent answer: numpy's quantiles of a sample that the loss alone is told."""
    y = np.random.default_rng(0).gamma(2.0, 3.0, 2000)
    task = Regress("amount", loss="quantile", quantiles=LEVELS)
    task.fit_target(frame(y))
    outputs = torch.zeros(1, 4, requires_grad=True)
    optimizer = torch.optim.Adam([outputs], lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        task.loss(outputs.expand(2000, -1), torch.tensor(y, dtype=torch.float32)).mean().backward()
        optimizer.step()
    assert task.decode(outputs.detach().numpy())[0] == pytest.approx(np.quantile(y, LEVELS), rel=0.03, abs=0.1)


def test_an_untrained_head_answers_the_quantiles_of_training():
    task = fitted(loss="quantile", quantiles=LEVELS)
    outputs = task.build_head(3)(torch.randn(2, 3))
    assert task.decode(outputs.detach().numpy())[0] == pytest.approx(np.quantile(Y, LEVELS), rel=1e-3)


@pytest.mark.parametrize(("loss", "expected"), [("squared", Y.mean()), ("absolute", 3.0), ("huber", 3.0)])
def test_an_untrained_head_answers_the_average(loss, expected):
    task = fitted(loss=loss)
    outputs = task.build_head(3)(torch.randn(2, 3))
    assert task.decode(outputs.detach().numpy()) == pytest.approx(np.full((2, 1), expected), rel=1e-5)


def test_logs_come_back_as_medians_or_with_a_factor_as_means():
    y = np.expm1(np.random.default_rng(0).normal(3, 1, 4000)).clip(0)
    mean, median = Regress("amount", log=True), Regress("amount", loss="absolute", log=True)
    for task in (mean, median):
        task.fit_target(frame(y))
    answer = mean.decode(np.zeros((4000, 1), np.float32))
    assert answer[0, 0] == pytest.approx(np.median(y), rel=0.05)  # exp of the mean of logs: not yet a mean
    fitted_map = mean.fit_calibration("none", y, answer)
    assert mean.calibrated(fitted_map, answer).mean() == pytest.approx(y.mean(), rel=1e-6)
    again = mean.calibration_from_json(json.loads(json.dumps(fitted_map.to_json())))
    assert again == fitted_map and fitted_map.kind == "mean factor"
    answer = median.decode(np.zeros((4000, 1), np.float32))
    assert median.fit_calibration("none", y, answer).kind == "none"
    assert answer[0, 0] == pytest.approx(np.median(y), rel=1e-4)


def test_the_monitor_goes_with_the_loss():
    assert (fitted().monitor, fitted().lower_is_better) == ("r2", False)
    assert (fitted(loss="absolute").monitor, fitted(loss="absolute").lower_is_better) == ("mae", True)
    assert fitted(loss="quantile").monitor == "pinball"
    for task in (fitted(), fitted(loss="huber"), fitted(loss="quantile")):
        answer = np.tile(Y[:, None] + 1, (1, task.n_outputs))
        assert task.monitor in task.metrics(Y, answer, n_bootstrap=0)
        assert task.monitor in task.differences(Y, answer, answer + 1)
        assert task.monitor_value(Y, answer) == pytest.approx(
            task.metrics(Y, answer, n_bootstrap=0)[task.monitor].value
        )


def test_columns_of_answers():
    assert [one.name for one in fitted().answer_columns(np.ones((2, 1)))] == ["prediction"]
    quantiles = fitted(loss="quantile", quantiles=(0.025, 0.5, 0.975))
    columns = quantiles.answer_columns(np.array([[1.0, 2.0, 3.0]]))
    assert [one.name for one in columns] == ["prediction", "prediction_q2.5", "prediction_q50", "prediction_q97.5"]
    assert columns[0].to_list() == [2.0]
    assert [one.name for one in quantiles.score_columns("GRU", np.ones((1, 3)))] == ["GRU_q2.5", "GRU_q50", "GRU_q97.5"]


@pytest.mark.parametrize("options", [{}, {"loss": "quantile", "log": True}, {"loss": "huber", "huber_delta": 2.0}])
def test_saved_and_restored_it_is_the_same(options):
    task = fitted(**options)
    again = Regress.from_json(json.loads(json.dumps(task.to_json())))
    outputs = np.random.default_rng(0).normal(size=(4, task.n_outputs)).astype(np.float32)
    assert again.to_json() == task.to_json()
    np.testing.assert_array_equal(again.decode(outputs), task.decode(outputs))


@pytest.mark.parametrize("values", [[1, 2, 3], [True, False, True]])
def test_whole_numbers_and_flags_are_numbers(values):
    task = Regress("amount")
    task.fit_target(frame(values))
    assert task.encode_target(frame(values)).tolist() == [float(one) for one in values]


def test_what_cannot_be_is_refused():
    with pytest.raises(ConfigError, match="did you mean 'squared'"):
        Regress("amount", loss="square")
    with pytest.raises(ConfigError, match=r"no 0\.5"):
        Regress("amount", loss="quantile", quantiles=(0.1, 0.9))
    with pytest.raises(ConfigError, match="shares"):
        Regress("amount", loss="quantile", quantiles=(0.0, 0.5))
    with pytest.raises(ConfigError, match="are of the loss 'quantile'"):
        Regress("amount", quantiles=(0.5,))
    with pytest.raises(ConfigError, match="one column"):
        Regress(["a", "b"])
    with pytest.raises(ConfigError, match="above 0"):
        Regress("amount", loss="huber", huber_delta=0)
    with pytest.raises(ConfigError, match="leave it out for numbers"):
        fitted().check_calibration("platt")
    with pytest.raises(DataError, match="numbers that differ"):
        Regress("amount").fit_target(frame([2.0, 2.0]))
    with pytest.raises(DataError, match="needs numbers"):
        Regress("amount").fit_target(frame(["much", "little"]))
    with pytest.raises(DataError, match="amounts of 0 or more"):
        Regress("amount", log=True).fit_target(frame([1.0, -2.0]))
    with pytest.raises(DataError, match="seven digits"):
        Regress("amount").fit_target(frame([1e9, 1e9 + 128.0]))
