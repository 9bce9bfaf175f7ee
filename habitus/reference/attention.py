"""Attention: softmax, scaled dot-product attention, masks and several heads (Vaswani et al. 2017, arXiv:1706.03762).

A mask is bool and True where a step MAY be seen. A row that may see nothing has weights and output of exactly zero,
not NaN: a softmax over nothing has no other harmless answer (torch's `scaled_dot_product_attention` says the same;
`torch.softmax` and `nn.MultiheadAttention` answer NaN). Shapes: B batch, H heads, Q queries, T steps, d width of a
head, D = H d.
"""

from __future__ import annotations

import math

import numpy as np

from habitus.reference.layers import linear_backward, linear_forward, linear_init
from habitus.reference.parameters import BoolArray, Cache, FloatArray, IntArray, Params, named, part


def softmax_forward(scores: FloatArray, mask: BoolArray | None = None) -> tuple[FloatArray, Cache]:
    """Return exp(s_j - max s) / sum_k exp(s_k - max s) along the last dimension, over the steps that `mask` allows.

    Equal to exp(s_j) / sum_k exp(s_k), above and below divided by exp(max s); without that, exp(710) is infinite.
    (Goodfellow et al. 2016, https://www.deeplearningbook.org/contents/numerical.html, section 4.1 and eq. 4.1.)

    >>> softmax_forward(np.array([1000.0, 1000.0, 5.0]), np.array([True, True, False]))[0]
    array([0.5, 0.5, 0. ])
    """
    seen = scores if mask is None else np.where(mask, scores, -np.inf)
    top = seen.max(axis=-1, keepdims=True)
    raised = np.exp(seen - np.where(np.isfinite(top), top, 0.0))  # -inf - -inf would be NaN
    total = raised.sum(axis=-1, keepdims=True)
    weights = raised / np.where(total == 0, 1.0, total)
    return weights, (weights,)


def softmax_backward(grad: FloatArray, cache: Cache) -> FloatArray:
    """Return ds_j = w_j (dw_j - sum_k dw_k w_k), because dw_k / ds_j = w_k ((k == j) - w_j).

    >>> softmax_backward(np.array([1.0, 0.0]), softmax_forward(np.zeros(2))[1])
    array([ 0.25, -0.25])
    """
    (weights,) = cache
    return weights * (grad - (grad * weights).sum(axis=-1, keepdims=True))


def causal_mask(n_steps: int) -> BoolArray:
    """Return (T, T): step i may see step j if j <= i (section 3.2.3 of the paper).

    >>> causal_mask(3).astype(int).tolist()
    [[1, 0, 0], [1, 1, 0], [1, 1, 1]]
    """
    return np.tril(np.ones((n_steps, n_steps), dtype=bool))


def padding_mask(lengths_B: IntArray, n_steps: int) -> BoolArray:
    """Return (B, 1, 1, T): True for the steps of each row, False for its padding, for any head and query.

    >>> padding_mask(np.array([2, 3]), 3)[:, 0, 0].astype(int).tolist()
    [[1, 1, 0], [1, 1, 1]]
    """
    return (np.arange(n_steps) < lengths_B[:, None])[:, None, None, :]


def attention_forward(
    query: FloatArray, key: FloatArray, value: FloatArray, mask: BoolArray | None = None
) -> tuple[FloatArray, Cache]:
    """Return softmax(Q K^T / sqrt(d)) V, (..., Q, d), (..., T, d) and (..., T, e) -> (..., Q, e); eq. 1 of the paper.

    The product of two random vectors of d numbers has a variance of d; sqrt(d) brings it back to 1, so that the
    softmax does not begin with all its weight on one step, where its gradient is zero (section 3.2.1).

    >>> eye = np.eye(2)
    >>> attention_forward(eye, eye, np.array([[1.0], [0.0]]))[0].round(4).ravel()
    array([0.6698, 0.3302])
    """
    scale = 1 / math.sqrt(query.shape[-1])
    scores = query @ np.swapaxes(key, -1, -2) * scale  # (..., Q, T)
    weights, softmax = softmax_forward(scores, mask)
    return weights @ value, (query, key, value, weights, softmax, scale)


def attention_backward(grad: FloatArray, cache: Cache) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return (dQ, dK, dV), with W the weights and O the output.

    dV = W^T dO;  dW = dO V^T;  dS = softmax_backward(dW);  dQ = dS K / sqrt(d);  dK = dS^T Q / sqrt(d).

    >>> eye = np.eye(2)
    >>> attention_backward(np.ones((2, 1)), attention_forward(eye, eye, np.ones((2, 1)))[1])[2].ravel().round(4)
    array([1., 1.])
    """
    query, key, value, weights, softmax, scale = cache
    grad_value = np.swapaxes(weights, -1, -2) @ grad
    grad_scores = softmax_backward(grad @ np.swapaxes(value, -1, -2), softmax) * scale
    return grad_scores @ key, np.swapaxes(grad_scores, -1, -2) @ query, grad_value


def multi_head_init(rng: np.random.Generator, width: int) -> Params:
    """Return the parameters of multi-head attention: `query`, `key`, `value` and `out`, each a linear layer D -> D.

    >>> multi_head_init(np.random.default_rng(0), 4)["query.weight"].shape
    (4, 4)
    """
    params: Params = {}
    for name in ("query", "key", "value", "out"):
        params |= named(name, linear_init(rng, width, width))
    return params


def multi_head_forward(
    x_BQD: FloatArray, memory_BTD: FloatArray, params: Params, n_heads: int, mask: BoolArray | None = None
) -> tuple[FloatArray, Cache]:
    """Return concat(head_1, ..., head_H) W^O with head_h = attention(x W_h^Q, m W_h^K, m W_h^V), (B, Q, D).

    Section 3.2.2 of the paper; differs from it in the biases, which torch has too. The W_h of all heads stand below
    each other in one matrix: head h reads columns h d to (h + 1) d of the product.

    Args:
        x_BQD: what asks.
        memory_BTD: what is asked: x itself in self-attention, the encoder's states in cross-attention.
        params: as of `multi_head_init`.
        n_heads: H, a divisor of D.
        mask: True where a step may be seen; broadcasts to (B, H, Q, T).

    >>> params, x = multi_head_init(np.random.default_rng(0), 4), np.ones((2, 3, 4))
    >>> multi_head_forward(x, x, params, n_heads=2, mask=causal_mask(3))[0].shape
    (2, 3, 4)
    """
    query, of_query = linear_forward(x_BQD, part(params, "query"))
    key, of_key = linear_forward(memory_BTD, part(params, "key"))
    value, of_value = linear_forward(memory_BTD, part(params, "value"))
    q, k, v = (split_heads(each, n_heads) for each in (query, key, value))  # (B, H, Q or T, d)
    mixed, of_heads = attention_forward(q, k, v, mask)
    y, of_out = linear_forward(join_heads(mixed), part(params, "out"))
    return y, (of_query, of_key, of_value, of_heads, of_out, n_heads)


def multi_head_backward(grad: FloatArray, cache: Cache) -> tuple[FloatArray, FloatArray, Params]:
    """Return (dx, dmemory, gradients); in self-attention, where both are x, its gradient is dx + dmemory.

    >>> params, x = multi_head_init(np.random.default_rng(0), 4), np.ones((2, 3, 4))
    >>> multi_head_backward(np.ones((2, 3, 4)), multi_head_forward(x, x, params, 2)[1])[2].keys() == params.keys()
    True
    """
    of_query, of_key, of_value, of_heads, of_out, n_heads = cache
    grad_mixed, out = linear_backward(grad, of_out)
    grad_heads = attention_backward(split_heads(grad_mixed, n_heads), of_heads)
    grad_query, grad_key, grad_value = (join_heads(each) for each in grad_heads)
    grad_x, query = linear_backward(grad_query, of_query)
    memory_by_key, key = linear_backward(grad_key, of_key)
    memory_by_value, value = linear_backward(grad_value, of_value)
    grads = named("query", query) | named("key", key) | named("value", value) | named("out", out)
    return grad_x, memory_by_key + memory_by_value, grads


def split_heads(x_BTD: FloatArray, n_heads: int) -> FloatArray:
    """Return (B, H, T, d): the columns of each head apart.

    >>> split_heads(np.arange(4.0).reshape(1, 1, 4), 2).tolist()
    [[[[0.0, 1.0]], [[2.0, 3.0]]]]
    """
    B, T, D = x_BTD.shape
    return x_BTD.reshape(B, T, n_heads, D // n_heads).swapaxes(1, 2)


def join_heads(x_BHTd: FloatArray) -> FloatArray:
    """Return (B, T, D): the heads beside each other again.

    >>> join_heads(split_heads(np.arange(4.0).reshape(1, 1, 4), 2)).tolist()
    [[[0.0, 1.0, 2.0, 3.0]]]
    """
    B, H, T, d = x_BHTd.shape
    return x_BHTd.swapaxes(1, 2).reshape(B, T, H * d)
