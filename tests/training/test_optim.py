"""The learning rate by hand at every step, and which parameters decay."""

import math

import pytest
import torch

from habitus.errors import ConfigError
from habitus.training.optim import Training, build_optimizer, learning_rate_at

RATE = {"learning_rate": 0.2, "warmup": 0.1}


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_the_rate_rises_in_equal_steps_to_its_highest(schedule):
    rates = [learning_rate_at(step, 100, Training(schedule=schedule, **RATE)) for step in range(101)]
    assert rates[:10] == pytest.approx([0.02 * (step + 1) for step in range(10)])
    assert rates[10] == pytest.approx(0.2) == max(rates)


@pytest.mark.parametrize(
    ("schedule", "step", "expected"),
    [
        ("constant", 99, 0.2),
        ("linear", 55, 0.2 * (0.05 + 0.95 * 0.5)),  # half of the 90 steps after the warm-up
        ("linear", 100, 0.2 * 0.05),
        ("cosine", 55, 0.2 * (0.05 + 0.95 * 0.5)),
        ("cosine", 40, 0.2 * (0.05 + 0.95 * (1 + math.cos(math.pi / 3)) / 2)),
        ("cosine", 100, 0.2 * 0.05),
        ("cosine", 140, 0.2 * 0.05),  # an epoch may have a batch more than the first one had
    ],
)
def test_the_rate_falls_as_the_schedule_says(schedule, step, expected):
    assert learning_rate_at(step, 100, Training(schedule=schedule, **RATE)) == pytest.approx(expected)


@pytest.mark.parametrize("n_steps", [1, 2, 3])
def test_the_shortest_runs_have_a_rate(n_steps):
    rates = [learning_rate_at(step, n_steps, Training(learning_rate=1.0, warmup=0.5)) for step in range(n_steps + 1)]
    assert all(0 < rate <= 1 for rate in rates)


def test_the_loop_uses_the_rate_of_its_step(tiny):
    options = tiny.OPTIONS | {"warmup": 0.2}
    _, result = tiny.run(**options)
    n_steps = tiny.N_BATCHES * tiny.N_EPOCHS
    expected = [learning_rate_at(record["step"] - 1, n_steps, Training(**options)) for record in result.history]
    assert [record["learning_rate"] for record in result.history] == expected
    assert [record["step"] for record in result.history] == [5, 10, 15, 20, 25, 30]


@pytest.mark.parametrize(
    ("name", "kind"), [("adamw", torch.optim.AdamW), ("adam", torch.optim.Adam), ("sgd", torch.optim.SGD)]
)
def test_only_matrices_decay(name, kind):
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4), torch.nn.Embedding(5, 4))
    optimizer = build_optimizer(network, Training(optimizer=name, weight_decay=0.3))
    assert type(optimizer) is kind
    matrices, rest = optimizer.param_groups
    assert matrices["weight_decay"] == 0.3 and rest["weight_decay"] == 0
    assert [p.ndim for p in matrices["params"]] == [2, 2] and [p.ndim for p in rest["params"]] == [1, 1, 1]


def test_a_frozen_parameter_is_left_alone():
    network = torch.nn.Linear(3, 4)
    network.bias.requires_grad_(False)
    assert sum(len(group["params"]) for group in build_optimizer(network, Training()).param_groups) == 1


@pytest.mark.parametrize(
    "option",
    [
        {"epochs": 0},
        {"batch_rows": 0},
        {"accumulate": 0},
        {"patience": 0},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"warmup": 1.0},
        {"average": -0.1},
        {"optimizer": "adamx"},
        {"schedule": "cosin"},
        {"precision": "fp16"},
        {"tracker": "tensorbord"},
        {"device": "gpu"},
        {"clip_norm": -1.0},
        {"weight_decay": -0.1},
    ],
    ids=str,
)
def test_an_option_that_cannot_be_is_refused_by_name(option):
    with pytest.raises(ConfigError, match=next(iter(option))):
        Training(**option)
