"""The forecast task: losses beside torch and loops, the network's parts, quantiles that do not cross."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from habitus.backbones import GRU, LSTM, RNN, Transformer
from habitus.errors import ConfigError
from habitus.tasks.forecast import Forecast, pinball
from habitus.tasks.forecast_batch import SeriesBatch
from habitus.tasks.forecast_network import ForecastNetwork, Shape

B, T, K, V = 3, 16, 5, 2
SHAPE = Shape(T, K, V, {"slot": 24, "weekday": 7}, 1 / 24)
BACKBONES = [Transformer(hidden_size=8, causal=False, time_aware=False, dropout=0.0, n_heads=2), GRU(hidden_size=8)]
BACKBONES += [LSTM(hidden_size=8), RNN(hidden_size=8)]


def batch(seed=0):
    torch.manual_seed(seed)
    seen = torch.rand(B, T, V) > 0.2
    calendar = torch.stack([torch.randint(24, (B, T + K)), torch.randint(7, (B, T + K))], dim=-1)
    return SeriesBatch(
        torch.randn(B, T, V), seen, calendar[:, :T], calendar[:, T:], torch.randn(B, K, V),
        torch.rand(B, K, V) > 0.1, torch.full((B,), T),
    )  # fmt: skip


def network(backbone=BACKBONES[1], **options):
    torch.manual_seed(0)
    made = ForecastNetwork(SHAPE, backbone, Forecast(("a", "b"), horizon=K, **options))
    for parameter in made.parameters():  # the parts that start at zero shall count, too
        torch.nn.init.normal_(parameter, std=0.3)
    return made.eval()


def with_values(one, values):
    return replace(one, values_BTV=values)


def test_pinball_is_that_of_a_loop_and_of_half_the_absolute_error():
    levels, q, y = torch.tensor([0.1, 0.5, 0.9]), torch.randn(4, 3), torch.randn(4)
    loop = [
        np.mean([max(a * (t - one), (a - 1) * (t - one)) for a, one in zip((0.1, 0.5, 0.9), row, strict=True)])
        for row, t in zip(q.tolist(), y.tolist(), strict=True)
    ]
    np.testing.assert_allclose(pinball(q, y, levels), loop, rtol=1e-5)
    np.testing.assert_allclose(pinball(q[:, 1:2], y, torch.tensor([0.5])), (q[:, 1] - y).abs() / 2, rtol=1e-6)


def test_losses_of_one_number_are_those_of_torch():
    output, target = torch.randn(4, 1), torch.randn(4)
    for name, function in (("mse", torch.nn.functional.mse_loss), ("mae", torch.nn.functional.l1_loss)):
        found = Forecast(loss=name).losses(output, target)
        torch.testing.assert_close(found, function(output[:, 0], target, reduction="none"))


@pytest.mark.parametrize("backbone", BACKBONES, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("variables", ["independent", "joint"])
def test_quantiles_rise_through_every_backbone(backbone, variables):
    out = network(backbone, variables=variables)(batch())
    assert out.shape == (B, K, V, 9) and (out.diff(dim=-1) > 0).all()
    assert network(backbone, variables=variables, loss="mse")(batch()).shape == (B, K, V, 1)


@pytest.mark.parametrize("normalise", ["window", "last"])
def test_a_window_moved_up_moves_the_forecast_up(normalise):
    one = batch()
    net = network(normalise=normalise)
    torch.testing.assert_close(net(with_values(one, one.values_BTV + 3)), net(one) + 3, rtol=1e-4, atol=1e-4)


def test_a_window_scaled_scales_the_forecast():
    one = batch()
    net = network()
    torch.testing.assert_close(net(with_values(one, one.values_BTV * 7)), net(one) * 7, rtol=1e-3, atol=1e-3)


def test_independent_variables_do_not_see_each_other_and_joint_ones_do():
    one = batch()
    changed = one.values_BTV.clone()
    changed[..., 1] = torch.randn(B, T) * 2
    for variables, same in (("independent", True), ("joint", False)):
        net = network(variables=variables)
        first, second = net(one)[:, :, 0], net(with_values(one, changed))[:, :, 0]
        assert torch.allclose(first, second, atol=1e-5) == same


def test_a_value_that_was_not_seen_is_read_by_the_straight_line_alone():
    one = batch()
    changed = torch.where(one.seen_BTV, one.values_BTV, 100.0)
    bent = network(linear=False)
    torch.testing.assert_close(bent(with_values(one, changed)), bent(one))


def test_a_fresh_network_is_its_straight_line():
    one, task = batch(), Forecast(("a", "b"), horizon=K, loss="mse")
    net = ForecastNetwork(SHAPE, BACKBONES[0], task).eval()
    weights = np.random.default_rng(0).normal(size=(T, K)).astype(np.float32)
    net.start_from(weights)
    seen, values = one.seen_BTV.double(), one.values_BTV.double()
    mean = (values * seen).sum(1, keepdim=True) / seen.sum(1, keepdim=True)
    expected = torch.einsum("btv,tk->bkv", values - mean, torch.from_numpy(weights).double()) + mean
    torch.testing.assert_close(net(one)[..., 0].double(), expected, rtol=1e-4, atol=1e-4)


def test_the_calendar_of_the_future_is_read_where_it_is_asked_for():
    one = batch()
    other = replace(one, future_BKC=(one.future_BKC + 1) % 7)
    assert not torch.allclose(network()(one), network()(other))
    assert torch.equal(network(calendar=False)(one), network(calendar=False)(other))


@pytest.mark.parametrize(
    "options",
    [{"loss": "huber"}, {"quantiles": (0.1, 0.9)}, {"quantiles": (0.9, 0.5)}, {"horizon": 0}, {"normalise": "none"}],
)
def test_options_that_cannot_be_are_refused(options):
    with pytest.raises(ConfigError):
        Forecast(**options)


def test_a_task_is_the_same_after_json():
    task = Forecast(("load",), horizon=9, quantiles=(0.2, 0.5, 0.8))
    assert Forecast.from_json(task.to_json()) == task
