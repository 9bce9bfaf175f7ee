"""Transformer encoder: blocks of self-attention and feed-forward (Vaswani et al. 2017, arXiv:1706.03762, section 3.1).

Norm after each sublayer as in the paper, or before it (Xiong et al. 2020, arXiv:2002.04745), then with one more norm
behind the last block. Differs from the paper in having no dropout (`classifier.py` shows where it goes) and in the
biases of attention. Embeddings and positions come from outside: states (B, T, D) in, states (B, T, D) out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from habitus.reference.attention import multi_head_backward, multi_head_forward, multi_head_init
from habitus.reference.layers import (
    Activation,
    feed_forward_backward,
    feed_forward_forward,
    feed_forward_init,
    layer_norm_backward,
    layer_norm_forward,
)
from habitus.reference.parameters import BoolArray, Cache, FloatArray, Params, named, part

Sublayer: TypeAlias = Callable[[FloatArray], tuple[FloatArray, Cache]]


@dataclass(frozen=True)
class Shape:
    """Say how blocks are built.

    Args:
        n_heads: heads of attention, H.
        norm_first: x + f(norm(x)) in place of the paper's norm(x + f(x)).
        activation: of the feed-forward layers.
    """

    n_heads: int = 2
    norm_first: bool = False
    activation: Activation = "relu"


def layer_norm_init(width: int) -> Params:
    """Return gain 1 and bias 0.

    >>> layer_norm_init(2)["weight"]
    array([1., 1.])
    """
    return {"weight": np.ones(width), "bias": np.zeros(width)}


def sublayer_forward(x: FloatArray, sublayer: Sublayer, norm: Params, norm_first: bool) -> tuple[FloatArray, Cache]:
    """Return norm(x + f(x)) (section 3.1 of the paper), or x + f(norm(x)) if `norm_first`.

    >>> sublayer_forward(np.array([1.0, 3.0]), lambda x: (0 * x, ()), layer_norm_init(2), norm_first=False)[0].round(3)
    array([-1.,  1.])
    """
    if norm_first:
        normed, of_norm = layer_norm_forward(x, norm)
        y, of_sublayer = sublayer(normed)
        return x + y, (of_norm, of_sublayer, norm_first)
    y, of_sublayer = sublayer(x)
    joined, of_norm = layer_norm_forward(x + y, norm)
    return joined, (of_norm, of_sublayer, norm_first)


def sublayer_backward(grad: FloatArray, cache: Cache, backward: Callable[..., Any]) -> tuple[Any, ...]:
    """Return (dx, what else `backward` of the sublayer returns, gradients of the norm).

    x goes two ways, past f and through f: the two gradients add.

    >>> cache = sublayer_forward(np.ones(2), lambda x: (3 * x, ()), layer_norm_init(2), norm_first=True)[1]
    >>> sublayer_backward(np.ones(2), cache, lambda grad, cache: (3 * grad, {}))[0]
    array([1., 1.])
    """
    of_norm, of_sublayer, norm_first = cache
    if norm_first:
        grad_normed, *others = backward(grad, of_sublayer)
        grad_x, norm = layer_norm_backward(grad_normed, of_norm)
        return grad + grad_x, *others, norm
    grad_sum, norm = layer_norm_backward(grad, of_norm)
    grad_x, *others = backward(grad_sum, of_sublayer)
    return grad_sum + grad_x, *others, norm


def self_attention_backward(grad: FloatArray, cache: Cache) -> tuple[FloatArray, Params]:
    """Return (dx, gradients) of attention of x to itself: dx as what asks plus dx as what is asked.

    >>> params, x = multi_head_init(np.random.default_rng(0), 4), np.ones((1, 2, 4))
    >>> self_attention_backward(x, multi_head_forward(x, x, params, 2)[1])[0].shape
    (1, 2, 4)
    """
    by_query, by_memory, grads = multi_head_backward(grad, cache)
    return by_query + by_memory, grads


def encoder_block_init(rng: np.random.Generator, width: int, inner: int) -> Params:
    """Return the parameters of one block: `attention`, `attention_norm`, `feed_forward`, `feed_forward_norm`.

    >>> len(encoder_block_init(np.random.default_rng(0), 4, 8))
    16
    """
    return (
        named("attention", multi_head_init(rng, width))
        | named("attention_norm", layer_norm_init(width))
        | named("feed_forward", feed_forward_init(rng, width, inner))
        | named("feed_forward_norm", layer_norm_init(width))
    )


def encoder_block_forward(
    x_BTD: FloatArray, params: Params, shape: Shape, mask: BoolArray | None = None
) -> tuple[FloatArray, Cache]:
    """Return the states after self-attention and feed-forward, (B, T, D).

    >>> params = encoder_block_init(np.random.default_rng(0), 4, 8)
    >>> encoder_block_forward(np.ones((2, 3, 4)), params, Shape(n_heads=2))[0].shape
    (2, 3, 4)
    """

    def attend(x: FloatArray) -> tuple[FloatArray, Cache]:
        return multi_head_forward(x, x, part(params, "attention"), shape.n_heads, mask)

    def feed(x: FloatArray) -> tuple[FloatArray, Cache]:
        return feed_forward_forward(x, part(params, "feed_forward"), shape.activation)

    mixed, attention = sublayer_forward(x_BTD, attend, part(params, "attention_norm"), shape.norm_first)
    y, feeding = sublayer_forward(mixed, feed, part(params, "feed_forward_norm"), shape.norm_first)
    return y, (attention, feeding)


def encoder_block_backward(grad: FloatArray, cache: Cache) -> tuple[FloatArray, Params]:
    """Return (dx, gradients).

    >>> params = encoder_block_init(np.random.default_rng(0), 4, 8)
    >>> cache = encoder_block_forward(np.ones((2, 3, 4)), params, Shape(n_heads=2))[1]
    >>> encoder_block_backward(np.ones((2, 3, 4)), cache)[1].keys() == params.keys()
    True
    """
    attention, feeding = cache
    grad_mixed, feed_forward, feed_forward_norm = sublayer_backward(grad, feeding, feed_forward_backward)
    grad_x, attend, attention_norm = sublayer_backward(grad_mixed, attention, self_attention_backward)
    grads = named("attention", attend) | named("attention_norm", attention_norm)
    return grad_x, grads | named("feed_forward", feed_forward) | named("feed_forward_norm", feed_forward_norm)


def encoder_init(rng: np.random.Generator, n_layers: int, width: int, inner: int, shape: Shape) -> Params:
    """Return the parameters of a stack: `0`, `1`, ... and, with `norm_first`, the last `norm`.

    >>> params = encoder_init(np.random.default_rng(0), 2, 4, 8, Shape(norm_first=True))
    >>> sorted({name.split(".")[0] for name in params})
    ['0', '1', 'norm']
    """
    params = named("norm", layer_norm_init(width)) if shape.norm_first else {}
    for number in range(n_layers):
        params |= named(str(number), encoder_block_init(rng, width, inner))
    return params


def n_blocks(params: Params) -> int:
    """Return how many numbered blocks a stack has.

    >>> n_blocks({"0.w": np.zeros(1), "1.w": np.zeros(1), "norm.w": np.zeros(1)})
    2
    """
    return len({name.split(".")[0] for name in params if name[0].isdigit()})


def encoder_forward(
    x_BTD: FloatArray, params: Params, shape: Shape, mask: BoolArray | None = None
) -> tuple[FloatArray, Cache]:
    """Return the states after all blocks, (B, T, D); with `causal_mask` this is a GPT-like decoder.

    >>> shape = Shape(n_heads=2, norm_first=True)
    >>> params = encoder_init(np.random.default_rng(0), 2, 4, 8, shape)
    >>> encoder_forward(np.ones((2, 3, 4)), params, shape)[0].shape
    (2, 3, 4)
    """
    x, caches, of_norm = x_BTD, [], None
    for number in range(n_blocks(params)):
        x, cache = encoder_block_forward(x, part(params, str(number)), shape, mask)
        caches.append(cache)
    if shape.norm_first:
        x, of_norm = layer_norm_forward(x, part(params, "norm"))
    return x, (caches, of_norm)


def encoder_backward(grad: FloatArray, cache: Cache) -> tuple[FloatArray, Params]:
    """Return (dx, gradients), from the last block to the first.

    >>> params = encoder_init(np.random.default_rng(0), 2, 4, 8, Shape())
    >>> cache = encoder_forward(np.ones((2, 3, 4)), params, Shape())[1]
    >>> encoder_backward(np.ones((2, 3, 4)), cache)[1].keys() == params.keys()
    True
    """
    caches, of_norm = cache
    grads: Params = {}
    if of_norm is not None:
        grad, norm = layer_norm_backward(grad, of_norm)
        grads |= named("norm", norm)
    for number in reversed(range(len(caches))):
        grad, of_block = encoder_block_backward(grad, caches[number])
        grads |= named(str(number), of_block)
    return grad, grads
