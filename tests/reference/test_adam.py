"""Adam against `torch.optim.Adam`."""

import numpy as np
import torch
from numpy.testing import assert_allclose

from habitus import reference as ref


def test_thirty_steps_equal_torch(rng):
    params = {"a": rng.normal(size=(2, 3)), "b": rng.normal(size=4)}
    theirs = {name: torch.tensor(value, requires_grad=True) for name, value in params.items()}
    optimizer, state = torch.optim.Adam(theirs.values(), lr=0.05), ref.adam_init(params)
    for _ in range(30):
        grads = {name: rng.normal(1, 2, value.shape) for name, value in params.items()}
        for name, value in theirs.items():
            value.grad = torch.tensor(grads[name])
        optimizer.step()
        params, state = ref.adam_step(params, grads, state, rate=0.05)
    assert state.t == 30
    for name, value in params.items():
        assert_allclose(value, theirs[name].detach(), atol=1e-6)


def test_a_step_leaves_what_was_passed_in(rng):
    params = {"a": rng.normal(size=3)}
    kept, state = params["a"].copy(), ref.adam_init(params)
    after, _ = ref.adam_step(params, {"a": np.ones(3)}, state)
    assert_allclose(params["a"], kept)
    assert (state.m["a"] == 0).all() and state.t == 0
    assert_allclose(after["a"], kept - 0.001, atol=1e-9)


def test_no_gradient_no_step():
    params = {"a": np.ones(2)}
    assert_allclose(ref.adam_step(params, {"a": np.zeros(2)}, ref.adam_init(params))[0]["a"], 1.0)
