"""Layers without memory: linear, embedding, layer norm, ReLU, GELU, feed-forward, dropout and cross-entropy.

Every piece is a pair. `forward(inputs, ...)` returns (output, cache); `backward(grad, cache)` takes the gradient of
the loss by the output and returns the gradients of the loss by forward's differentiable arguments, in their order.
Backward is the chain rule and nothing else: (gradient by the output) times (derivative of the output by the argument).
Knows nothing about time: leading dimensions are written `...` and may be (B,), (B, T) or none.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from habitus.reference.parameters import Cache, FloatArray, IntArray, Params, named, part

Activation = Literal["relu", "gelu"]
_erf = np.frompyfunc(math.erf, 1, 1)  # NumPy has none; one call a number is slow, and exact


def linear_init(rng: np.random.Generator, n_in: int, n_out: int) -> Params:
    """Return random weights U(-a, a) with a = sqrt(6 / (n_in + n_out)), and a bias of zeros.

    Glorot & Bengio 2010, https://proceedings.mlr.press/v9/glorot10a.html, eq. 16.

    >>> linear_init(np.random.default_rng(0), 3, 2)["weight"].shape
    (2, 3)
    """
    bound = math.sqrt(6 / (n_in + n_out))
    return {"weight": rng.uniform(-bound, bound, (n_out, n_in)), "bias": np.zeros(n_out)}


def linear_forward(x: FloatArray, params: Params) -> tuple[FloatArray, Cache]:
    """Return y = x W^T + b, (..., I) -> (..., O), with `weight` (O, I) and `bias` (O,).

    >>> linear_forward(np.array([1.0, 2.0]), {"weight": np.array([[3.0, 4.0]]), "bias": np.array([5.0])})[0]
    array([16.])
    """
    return x @ params["weight"].T + params["bias"], (x, params)


def linear_backward(grad: FloatArray, cache: Cache) -> tuple[FloatArray, Params]:
    """Return dx = dy W, and dW = sum of dy^T x, db = sum of dy over all leading dimensions.

    >>> dx, grads = linear_backward(np.ones(1), linear_forward(np.array([1.0, 2.0]),
    ...     {"weight": np.array([[3.0, 4.0]]), "bias": np.array([5.0])})[1])
    >>> dx.tolist(), grads["weight"].tolist()
    ([3.0, 4.0], [[1.0, 2.0]])
    """
    x, params = cache
    grad_NO, x_NI = grad.reshape(-1, grad.shape[-1]), x.reshape(-1, x.shape[-1])
    return grad @ params["weight"], {"weight": grad_NO.T @ x_NI, "bias": grad_NO.sum(axis=0)}


def embedding_forward(ids: IntArray, params: Params) -> tuple[FloatArray, Cache]:
    """Return row `id` of the table for each id, (...) -> (..., D), with `weight` (V, D).

    The same as a one-hot vector times the table; no arithmetic is needed to multiply by zero and one.

    >>> embedding_forward(np.array([1, 1, 0]), {"weight": np.array([[1.0], [2.0]])})[0].ravel().tolist()
    [2.0, 2.0, 1.0]
    """
    return params["weight"][ids], (ids, params)


def embedding_backward(grad: FloatArray, cache: Cache) -> Params:
    """Return the gradient of the table: each row sums the gradients of the places where its id stands.

    >>> cache = embedding_forward(np.array([1, 1, 0]), {"weight": np.zeros((3, 1))})[1]
    >>> embedding_backward(np.ones((3, 1)), cache)["weight"].ravel().tolist()
    [1.0, 2.0, 0.0]
    """
    ids, params = cache
    table = np.zeros_like(params["weight"])
    np.add.at(table, ids, grad)  # `table[ids] += grad` would count an id that occurs twice once
    return {"weight": table}


def layer_norm_forward(x: FloatArray, params: Params, epsilon: float = 1e-5) -> tuple[FloatArray, Cache]:
    """Return g (x - mean) / sqrt(variance + epsilon) + b over the last dimension, (..., D), with `weight` g, `bias` b.

    Ba et al. 2016, https://arxiv.org/abs/1607.06450, eq. 3 and 4. Differs from the paper in no function around it and
    in epsilon, which torch adds too. The variance divides by D, not by D - 1.

    >>> layer_norm_forward(np.array([1.0, 3.0]), {"weight": np.ones(2), "bias": np.zeros(2)})[0].round(3)
    array([-1.,  1.])
    """
    centred = x - x.mean(axis=-1, keepdims=True)
    scale = 1 / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + epsilon)
    normed = centred * scale
    return normed * params["weight"] + params["bias"], (normed, scale, params)


def layer_norm_backward(grad: FloatArray, cache: Cache) -> tuple[FloatArray, Params]:
    """Return dx = s (dn - mean(dn) - n mean(dn n)), with n the normed x, s = 1 / sqrt(variance + eps), dn = g dy.

    The two means are there because the mean and the variance depend on every x_i as well: moving all x by the same,
    or scaling them all, leaves the output where it was, so dx has no share along these two directions.

    >>> cache = layer_norm_forward(np.array([1.0, 3.0, 4.0]), {"weight": np.ones(3), "bias": np.zeros(3)})[1]
    >>> float(layer_norm_backward(np.array([1.0, 0.0, 0.0]), cache)[0].sum().round(12)) + 0.0
    0.0
    """
    normed, scale, params = cache
    grad_normed = grad * params["weight"]
    mean = grad_normed.mean(axis=-1, keepdims=True)
    along = (grad_normed * normed).mean(axis=-1, keepdims=True)
    before = tuple(range(grad.ndim - 1))
    grads = {"weight": (grad * normed).sum(axis=before), "bias": grad.sum(axis=before)}
    return scale * (grad_normed - mean - normed * along), grads


def relu_forward(x: FloatArray) -> tuple[FloatArray, Cache]:
    """Return max(0, x) (Nair & Hinton 2010, https://icml.cc/Conferences/2010/papers/432.pdf).

    >>> relu_forward(np.array([-1.0, 2.0]))[0]
    array([0., 2.])
    """
    return np.maximum(x, 0.0), (x,)


def relu_backward(grad: FloatArray, cache: Cache) -> FloatArray:
    """Return dx = dy where x > 0, else 0 (at 0 itself there is no derivative; 0 is the custom).

    >>> relu_backward(np.ones(2), relu_forward(np.array([-1.0, 2.0]))[1])
    array([0., 1.])
    """
    (x,) = cache
    return grad * (x > 0)


def gelu_forward(x: FloatArray) -> tuple[FloatArray, Cache]:
    """Return x P(x), with P(x) = (1 + erf(x / sqrt(2))) / 2 the share of a standard normal below x.

    Hendrycks & Gimpel 2016, https://arxiv.org/abs/1606.08415, section 2; not their approximation with tanh.

    >>> gelu_forward(np.array([-1.0, 0.0, 1.0]))[0].round(4)
    array([-0.1587,  0.    ,  0.8413])
    """
    below = (1 + _erf(x / math.sqrt(2)).astype(x.dtype)) / 2
    return x * below, (x, below)


def gelu_backward(grad: FloatArray, cache: Cache) -> FloatArray:
    """Return dx = dy (P(x) + x p(x)), with p(x) = exp(-x^2 / 2) / sqrt(2 pi) the standard normal density.

    >>> gelu_backward(np.ones(1), gelu_forward(np.zeros(1))[1])
    array([0.5])
    """
    x, below = cache
    return grad * (below + x * np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi))


def feed_forward_init(rng: np.random.Generator, width: int, inner: int) -> Params:
    """Return the parameters of a feed-forward layer.

    >>> sorted(feed_forward_init(np.random.default_rng(0), 4, 8))
    ['down.bias', 'down.weight', 'up.bias', 'up.weight']
    """
    return named("up", linear_init(rng, width, inner)) | named("down", linear_init(rng, inner, width))


def feed_forward_forward(x: FloatArray, params: Params, activation: Activation = "relu") -> tuple[FloatArray, Cache]:
    """Return W2 f(W1 x + b1) + b2 at every step alone, (..., D) -> (..., D), with `up` W1 and `down` W2.

    Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, eq. 2, where f is max(0, x); "gelu" came with BERT.

    >>> params = feed_forward_init(np.random.default_rng(0), 4, 8)
    >>> feed_forward_forward(np.ones((2, 3, 4)), params)[0].shape
    (2, 3, 4)
    """
    raised, up = linear_forward(x, part(params, "up"))
    bent, bend = gelu_forward(raised) if activation == "gelu" else relu_forward(raised)
    y, down = linear_forward(bent, part(params, "down"))
    return y, (up, bend, down, activation)


def feed_forward_backward(grad: FloatArray, cache: Cache) -> tuple[FloatArray, Params]:
    """Return (dx, gradients): back through `down`, the function and `up`.

    >>> params = feed_forward_init(np.random.default_rng(0), 4, 8)
    >>> cache = feed_forward_forward(np.ones((2, 3, 4)), params)[1]
    >>> feed_forward_backward(np.ones((2, 3, 4)), cache)[1].keys() == params.keys()
    True
    """
    up, bend, down, activation = cache
    grad_bent, grads_down = linear_backward(grad, down)
    grad_raised = gelu_backward(grad_bent, bend) if activation == "gelu" else relu_backward(grad_bent, bend)
    grad_x, grads_up = linear_backward(grad_raised, up)
    return grad_x, named("up", grads_up) | named("down", grads_down)


def dropout_forward(x: FloatArray, rate: float, rng: np.random.Generator) -> tuple[FloatArray, Cache]:
    """Return x m / (1 - rate), where each entry of the mask m is 0 with probability `rate` and else 1.

    Srivastava et al. 2014, https://jmlr.org/papers/v15/srivastava14a.html, section 4 (their p is 1 - rate).
    Differs from the paper in that training divides by 1 - rate ("inverted" dropout): prediction then does nothing.

    >>> dropout_forward(np.ones(6), 0.5, np.random.default_rng(0))[0]
    array([2., 0., 0., 0., 2., 2.])
    """
    factor = (rng.random(x.shape) >= rate) / (1 - rate)
    return x * factor, (factor,)


def dropout_backward(grad: FloatArray, cache: Cache) -> FloatArray:
    """Return dx = dy m / (1 - rate), with the mask that forward drew.

    >>> dropout_backward(np.ones(6), dropout_forward(np.ones(6), 0.5, np.random.default_rng(0))[1])
    array([2., 0., 0., 0., 2., 2.])
    """
    (factor,) = cache
    return grad * factor


def cross_entropy_forward(logits: FloatArray, target: IntArray) -> tuple[float, Cache]:
    """Return the mean of -log softmax(logits)[target], (..., C) and (...) -> one number.

    -log p_c = log(sum exp(z)) - z_c; with the largest z taken out of the sum first, no exponential can overflow.

    >>> round(cross_entropy_forward(np.array([[0.0, 0.0]]), np.array([1]))[0], 4)
    0.6931
    """
    shifted = logits - logits.max(axis=-1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    chosen = np.take_along_axis(log_p, target[..., None], axis=-1)
    return float(-chosen.mean()), (log_p, target)


def cross_entropy_backward(grad: float, cache: Cache) -> FloatArray:
    """Return d logits = (softmax(logits) - one-hot target) / number of targets, times `grad` (1.0 for the loss itself).

    >>> cross_entropy_backward(1.0, cross_entropy_forward(np.array([[0.0, 0.0]]), np.array([1]))[1])
    array([[ 0.5, -0.5]])
    """
    log_p, target = cache
    one_hot = np.arange(log_p.shape[-1]) == target[..., None]
    return grad * (np.exp(log_p) - one_hot) / target.size
