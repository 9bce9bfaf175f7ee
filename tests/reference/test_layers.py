"""Each layer against torch (values 1e-6, gradients 1e-5) and against differences."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.testing import assert_allclose

from habitus import reference as ref

B, T, D, V = 2, 3, 4, 5


def affine(rng, width=D):
    return {"weight": rng.normal(size=width), "bias": rng.normal(size=width)}


@pytest.mark.parametrize("leading", [(), (B,), (B, T)])
def test_linear(rng, autograd, leading):
    x, grad = rng.normal(size=(*leading, D)), rng.normal(size=(*leading, 3))
    params = ref.linear_init(rng, D, 3) | {"bias": rng.normal(size=3)}
    y, cache = ref.linear_forward(x, params)
    grad_x, grads = ref.linear_backward(grad, cache)
    expected, (by_x, by_weight, by_bias) = autograd(F.linear, grad, x, params["weight"], params["bias"])
    assert_allclose(y, expected, atol=1e-6)
    for own, theirs in ((grad_x, by_x), (grads["weight"], by_weight), (grads["bias"], by_bias)):
        assert_allclose(own, theirs, atol=1e-5)


def test_embedding_sums_the_gradients_of_an_id_that_occurs_twice(rng, autograd):
    ids, table, grad = np.array([[1, 1, 4], [0, 1, 2]]), rng.normal(size=(V, D)), rng.normal(size=(B, T, D))
    y, cache = ref.embedding_forward(ids, {"weight": table})
    expected, (by_table,) = autograd(lambda weight: F.embedding(torch.tensor(ids), weight), grad, table)
    assert_allclose(y, expected)
    assert_allclose(ref.embedding_backward(grad, cache)["weight"], by_table, atol=1e-5)


def test_layer_norm(rng, autograd, by_differences):
    x, grad, params = rng.normal(2, 3, (B, T, D)), rng.normal(size=(B, T, D)), affine(rng)
    y, cache = ref.layer_norm_forward(x, params)
    grad_x, grads = ref.layer_norm_backward(grad, cache)
    expected, theirs = autograd(lambda *a: F.layer_norm(a[0], (D,), *a[1:]), grad, x, *params.values())
    assert_allclose(y, expected, atol=1e-6)
    for own, other in zip((grad_x, grads["weight"], grads["bias"]), theirs, strict=True):
        assert_allclose(own, other, atol=1e-5)
    assert_allclose(grad_x, by_differences(lambda: (ref.layer_norm_forward(x, params)[0] * grad).sum(), x), atol=1e-5)


def test_layer_norm_of_equal_numbers_is_the_bias(rng):
    params = affine(rng)
    y, cache = ref.layer_norm_forward(np.full((1, D), 7.0), params)
    assert_allclose(y[0], params["bias"])
    assert np.isfinite(ref.layer_norm_backward(np.ones((1, D)), cache)[0]).all()


@pytest.mark.parametrize("name", ["relu", "gelu"])
def test_activations(rng, autograd, by_differences, name):
    forward, backward = getattr(ref, f"{name}_forward"), getattr(ref, f"{name}_backward")
    x, grad = rng.normal(0, 2, (B, D)), rng.normal(size=(B, D))
    y, cache = forward(x)
    expected, (by_x,) = autograd(getattr(F, name), grad, x)
    assert_allclose(y, expected, atol=1e-6)
    assert_allclose(backward(grad, cache), by_x, atol=1e-5)
    assert_allclose(backward(grad, cache), by_differences(lambda: (forward(x)[0] * grad).sum(), x), atol=1e-5)


def test_gelu_far_out_is_the_identity_or_zero():
    y, cache = ref.gelu_forward(np.array([-50.0, 50.0]))
    assert_allclose(y, [0, 50])
    assert_allclose(ref.gelu_backward(np.ones(2), cache), [0, 1])


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_feed_forward(rng, autograd, activation):
    x, grad, params = rng.normal(size=(B, T, D)), rng.normal(size=(B, T, D)), ref.feed_forward_init(rng, D, 6)
    names = ["up.weight", "up.bias", "down.weight", "down.bias"]

    def theirs(x, up, up_bias, down, down_bias):
        return F.linear(getattr(F, activation)(F.linear(x, up, up_bias)), down, down_bias)

    y, cache = ref.feed_forward_forward(x, params, activation)
    grad_x, grads = ref.feed_forward_backward(grad, cache)
    expected, (by_x, *by_params) = autograd(theirs, grad, x, *(params[name] for name in names))
    assert_allclose(y, expected, atol=1e-6)
    assert_allclose(grad_x, by_x, atol=1e-5)
    for name, by_param in zip(names, by_params, strict=True):
        assert_allclose(grads[name], by_param, atol=1e-5)


def test_dropout_keeps_the_mean_and_its_share(rng):
    y, cache = ref.dropout_forward(np.ones(20_000), 0.25, rng)
    assert set(np.unique(y)) == {0.0, 1 / 0.75}
    assert abs(y.mean() - 1) < 0.02
    assert_allclose(ref.dropout_backward(np.ones(20_000), cache), y)


def test_dropout_of_nothing_changes_nothing(rng):
    x = rng.normal(size=(B, D))
    assert_allclose(ref.dropout_forward(x, 0.0, rng)[0], x)


@pytest.mark.parametrize("shape", [(B,), (B, T)])
def test_cross_entropy(rng, autograd, by_differences, shape):
    logits, target = rng.normal(0, 3, (*shape, V)), rng.integers(0, V, shape)
    loss, cache = ref.cross_entropy_forward(logits, target)
    flat = torch.tensor(target).flatten()
    expected, (by_logits,) = autograd(lambda z: F.cross_entropy(z.reshape(-1, V), flat), np.array(1.0), logits)
    assert_allclose(loss, expected, atol=1e-6)
    own = ref.cross_entropy_backward(1.0, cache)
    assert_allclose(own, by_logits, atol=1e-5)
    assert_allclose(own, by_differences(lambda: ref.cross_entropy_forward(logits, target)[0], logits), atol=1e-5)


def test_cross_entropy_of_huge_logits_is_finite():
    loss, cache = ref.cross_entropy_forward(np.array([[2000.0, 0.0, -2000.0]]), np.array([2]))
    assert loss == 4000.0
    assert_allclose(ref.cross_entropy_backward(1.0, cache), [[1, 0, -1]])
