"""RNN, LSTM and GRU against torch's own, over time, and against differences."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import nn

from habitus import reference as ref

B, T, WIDTH, H = 2, 4, 3, 5
KINDS = {"rnn": (1, 1), "gru": (3, 1), "lstm": (4, 2)}  # gates, parts of the state


def made(kind, rng):
    n_gates, n_parts = KINDS[kind]
    params = {name: 1.5 * value for name, value in ref.recurrent_init(rng, WIDTH, H, n_gates).items()}
    state = tuple(rng.normal(size=(B, H)) for _ in range(n_parts))
    return params, state, rng.normal(size=(B, T, WIDTH)), rng.normal(size=(B, T, H))


def torch_layer(kind, params):
    layer = getattr(nn, kind.upper())(WIDTH, H, batch_first=True).double()
    layer.load_state_dict({f"{name}_l0": torch.tensor(value) for name, value in params.items()})
    return layer


def torch_state(parts):
    parts = [part[None] for part in parts]
    return tuple(parts) if len(parts) == 2 else parts[0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_equals_torch(kind, rng, autograd):
    params, state, x, grad = made(kind, rng)
    layer = torch_layer(kind, params)
    states, cache = getattr(ref, f"{kind}_forward")(x, state, params)
    grad_x, grad_state, grads = getattr(ref, f"{kind}_backward")(grad, cache)
    expected, theirs = autograd(lambda x, *parts: layer(x, torch_state(parts))[0], grad, x, *state)
    assert_allclose(states, expected, atol=1e-6)
    for own, other in zip((grad_x, *grad_state), theirs, strict=True):
        assert_allclose(own, other, atol=1e-5)
    for name, own in grads.items():
        assert_allclose(own, getattr(layer, f"{name}_l0").grad, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_equals_differences(kind, rng, by_differences):
    params, state, x, grad = made(kind, rng)
    forward, backward = getattr(ref, f"{kind}_forward"), getattr(ref, f"{kind}_backward")
    grad_x, grad_state, grads = backward(grad, forward(x, state, params)[1])
    pairs = [(x, grad_x), *zip(state, grad_state, strict=True), *((params[name], grads[name]) for name in params)]
    for array, own in pairs:
        assert_allclose(own, by_differences(lambda: (forward(x, state, params)[0] * grad).sum(), array), atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_cell_equals_torch(kind, rng, autograd):
    params, state, x, _ = made(kind, rng)
    cell = getattr(nn, f"{kind.upper()}Cell")(WIDTH, H).double()
    cell.load_state_dict({name: torch.tensor(value) for name, value in params.items()})
    grad = tuple(rng.normal(size=(B, H)) for _ in state)
    after, cache = getattr(ref, f"{kind}_cell_forward")(x[:, 0], state, params)
    grad_x, grad_state, grads = getattr(ref, f"{kind}_cell_backward")(grad, cache)

    def theirs(x, *parts):
        return torch.stack(cell(x, parts) if len(parts) == 2 else [cell(x, parts[0])])

    expected, others = autograd(theirs, np.stack(grad), x[:, 0], *state)
    assert_allclose(np.stack(after), expected, atol=1e-6)
    for own, other in zip((grad_x, *grad_state), others, strict=True):
        assert_allclose(own, other, atol=1e-5)
    assert_allclose(grads["weight_hh"], cell.weight_hh.grad, atol=1e-5)


def test_one_step_at_a_time_equals_the_whole_row(rng):
    params, state, x, _ = made("lstm", rng)
    expected = ref.lstm_forward(x, state, params)[0]
    for t in range(T):
        state = ref.lstm_cell_forward(x[:, t], state, params)[0]
        assert_allclose(state[0], expected[:, t])


def test_sigmoid_does_not_overflow():
    assert_allclose(ref.sigmoid(np.array([-1e5, -2.0, 1e5])), [0, 1 / (1 + np.exp(2)), 1])
