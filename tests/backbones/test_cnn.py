"""The convolutional backbone against loops over layers, taps and steps; what it refuses, reaches and starts with."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from habitus.backbones.cnn import CNN
from habitus.errors import ConfigError

B, T, D = 3, 12, 6
LENGTHS = [12, 1, 7]


def stack_of(**options):
    torch.manual_seed(0)
    return CNN(hidden_size=D, **options).build().eval()


def batch_of(lengths, n_steps=T):
    lengths = torch.tensor(lengths)
    return SimpleNamespace(lengths=lengths, is_step=torch.arange(n_steps) < lengths[:, None])


def steps(n=B, seed=0):
    return torch.randn(n, T, D, generator=torch.Generator().manual_seed(seed))


def by_loops(stack, x_TD):
    """Return the states of one row: every sum written out."""
    config, x = stack.config, x_TD.double()
    for number, layer in enumerate(stack.layers):
        apart = 2**number
        ahead = apart * (config.kernel_size - 1) // 2 if config.bidirectional else 0
        normed = F.layer_norm(x, (D,), layer.norm.weight.double(), layer.norm.bias.double())
        added = []
        for step in range(len(x)):
            total = layer.near.bias.double().clone()
            for tap in range(config.kernel_size):
                at = step + ahead - apart * (config.kernel_size - 1 - tap)
                if 0 <= at < len(x):
                    total += layer.near.weight[:, :, tap].double() @ normed[at]
            added.append(F.linear(F.gelu(total), layer.mix.weight.double(), layer.mix.bias.double()))
        x = x + torch.stack(added)
    return F.layer_norm(x, (D,), stack.norm.weight.double(), stack.norm.bias.double()).float()


@pytest.mark.parametrize("n_layers", [1, 3])
@pytest.mark.parametrize(("kernel_size", "bidirectional"), [(1, False), (2, False), (5, False), (3, True), (5, True)])
@torch.no_grad()
def test_states_equal_loops_row_by_row(n_layers, kernel_size, bidirectional):
    stack = stack_of(n_layers=n_layers, kernel_size=kernel_size, bidirectional=bidirectional)
    padded = steps() + 100 * (~batch_of(LENGTHS).is_step)[..., None]  # what stands in padding changes nothing
    states = stack(padded, batch_of(LENGTHS))
    for row, length in enumerate(LENGTHS):
        torch.testing.assert_close(states[row, :length], by_loops(stack, steps()[row, :length]), rtol=0, atol=1e-5)


@given(n_layers=st.integers(1, 3), kernel_size=st.integers(1, 5))
@settings(max_examples=20, deadline=None)
def test_the_oldest_step_seen_is_the_one_that_the_reach_says(n_layers, kernel_size):
    stack = stack_of(n_layers=n_layers, kernel_size=kernel_size)
    x = steps(1).requires_grad_()
    stack(x, batch_of([T]))[0, -1].square().sum().backward()
    seen = x.grad[0].abs().sum(1).nonzero().flatten()
    assert int(seen[0]) == max(0, T - stack.config.reach)


@torch.no_grad()
def test_one_step_at_a_time_equals_the_whole_row():
    stack = stack_of(n_layers=3, kernel_size=3)
    state, found = stack.start(B), []
    for step in range(T):
        answer, state = stack.step(steps()[:, step], None, state)
        found.append(answer)
    whole = stack(steps(), batch_of([T] * B))
    torch.testing.assert_close(torch.stack(found, 1), whole, rtol=0, atol=1e-6)
    assert state.n_steps == T and state.hidden.shape == (stack.config.reach - 1, B, D)
    torch.testing.assert_close(stack.forward_last(steps(), batch_of(LENGTHS)), whole[range(B), np.array(LENGTHS) - 1])


@torch.no_grad()
def test_an_earlier_state_still_answers_as_before():
    stack = stack_of()
    _, first = stack.step(steps()[:, 0], None, stack.start(B))
    once, _ = stack.step(steps()[:, 1], None, first)
    stack.step(steps()[:, 2], None, first)
    assert torch.equal(stack.step(steps()[:, 1], None, first)[0], once)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"hidden_size": 0}, "each must be 1 or more"),
        ({"n_layers": -1}, "n_layers 0 or more"),
        ({"kernel_size": 0}, "each must be 1 or more"),
        ({"kernel_size": 4, "bidirectional": True}, "use an odd one"),
        ({"pooling": "cls"}, "CNN pools by"),
        ({"pooling": "sum"}, "mean"),
        ({"dropout": 1.0}, "dropout"),
    ],
)
def test_options_that_cannot_work_are_refused(options, said):
    with pytest.raises(ConfigError, match=said):
        CNN(**options)


def test_both_ways_takes_no_stream():
    stack = stack_of(bidirectional=True)
    assert CNN().is_causal and not stack.config.is_causal
    for ask in (stack.start, lambda: stack.forward_last(steps(), batch_of(LENGTHS))):
        with pytest.raises(ConfigError, match="bidirectional=False"):
            ask()


@torch.no_grad()
def test_without_layers_the_step_vectors_are_the_states():
    stack = stack_of(n_layers=0)
    assert stack.config.reach == 1 and torch.equal(stack(steps(), batch_of(LENGTHS)), steps())
    answer, state = stack.step(steps()[:, 0], None, stack.start(B))
    assert torch.equal(answer, steps()[:, 0]) and state.n_steps == 1


def test_dropout_acts_in_training_alone():
    stack = stack_of(dropout=0.5)
    assert torch.equal(stack(steps(), batch_of(LENGTHS)), stack(steps(), batch_of(LENGTHS)))
    stack.train()
    assert not torch.equal(stack(steps(), batch_of(LENGTHS)), stack(steps(), batch_of(LENGTHS)))
