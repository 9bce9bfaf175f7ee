"""Two judges of a backward written by hand: torch's autograd, and differences of the forward. All in float64."""

import numpy as np
import pytest
import torch


def autograd(function, grad, *arrays):
    """Return function's output and its gradients by every array, given the gradient of the output, by torch."""
    inputs = [torch.tensor(array, requires_grad=True) for array in arrays]
    output = function(*inputs)
    output.backward(torch.as_tensor(grad, dtype=output.dtype))
    return output.detach().numpy(), [each.grad.numpy() for each in inputs]


def by_differences(loss, array, step=1e-6):
    """Return (loss(x + step) - loss(x - step)) / (2 step) for each entry; `loss` reads the array, moved in place."""
    found = np.empty_like(array)
    for index in np.ndindex(array.shape):
        kept = array[index]
        array[index] = kept + step
        above = loss()
        array[index] = kept - step
        found[index] = (above - loss()) / (2 * step)
        array[index] = kept
    return found


@pytest.fixture(name="autograd")
def _autograd():
    return autograd


@pytest.fixture(name="by_differences")
def _by_differences():
    return by_differences


@pytest.fixture
def rng():
    return np.random.default_rng(0)
