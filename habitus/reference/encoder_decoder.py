"""Encoder-decoder: the decoder attends to itself, then to the encoder's states (Vaswani et al. 2017, section 3.1).

A decoder block has three sublayers: causal self-attention, cross-attention (it asks, the encoder's states answer) and
feed-forward. Every block asks the same states, so that their gradients add. As in `encoder.py`, embeddings, positions
and the last linear layer come from outside; names: `encoder.0...`, `decoder.0...`.
"""

from __future__ import annotations

import numpy as np

from habitus.reference.attention import causal_mask, multi_head_backward, multi_head_forward, multi_head_init
from habitus.reference.encoder import (
    Shape,
    encoder_backward,
    encoder_block_init,
    encoder_forward,
    encoder_init,
    layer_norm_init,
    n_blocks,
    self_attention_backward,
    sublayer_backward,
    sublayer_forward,
)
from habitus.reference.layers import (
    feed_forward_backward,
    feed_forward_forward,
    layer_norm_backward,
    layer_norm_forward,
)
from habitus.reference.parameters import BoolArray, Cache, FloatArray, Params, named, part


def decoder_block_init(rng: np.random.Generator, width: int, inner: int) -> Params:
    """Return the parameters of an encoder block and of `cross`, `cross_norm`.

    >>> len(decoder_block_init(np.random.default_rng(0), 4, 8))
    26
    """
    cross = named("cross", multi_head_init(rng, width)) | named("cross_norm", layer_norm_init(width))
    return encoder_block_init(rng, width, inner) | cross


def decoder_block_forward(
    y_BQD: FloatArray, memory_BTD: FloatArray, params: Params, shape: Shape, memory_mask: BoolArray | None = None
) -> tuple[FloatArray, Cache]:
    """Return the decoder's states after one block, (B, Q, D).

    Args:
        y_BQD: the decoder's states; no step sees a later one.
        memory_BTD: the encoder's states.
        params: as of `decoder_block_init`.
        shape: of the block.
        memory_mask: True where a step of the encoder may be seen, (B, 1, 1, T).

    >>> params = decoder_block_init(np.random.default_rng(0), 4, 8)
    >>> decoder_block_forward(np.ones((2, 3, 4)), np.ones((2, 5, 4)), params, Shape())[0].shape
    (2, 3, 4)
    """
    no_later = causal_mask(y_BQD.shape[1])

    def attend(y: FloatArray) -> tuple[FloatArray, Cache]:
        return multi_head_forward(y, y, part(params, "attention"), shape.n_heads, no_later)

    def ask(y: FloatArray) -> tuple[FloatArray, Cache]:
        return multi_head_forward(y, memory_BTD, part(params, "cross"), shape.n_heads, memory_mask)

    def feed(y: FloatArray) -> tuple[FloatArray, Cache]:
        return feed_forward_forward(y, part(params, "feed_forward"), shape.activation)

    y, attention = sublayer_forward(y_BQD, attend, part(params, "attention_norm"), shape.norm_first)
    y, cross = sublayer_forward(y, ask, part(params, "cross_norm"), shape.norm_first)
    y, feeding = sublayer_forward(y, feed, part(params, "feed_forward_norm"), shape.norm_first)
    return y, (attention, cross, feeding)


def decoder_block_backward(grad: FloatArray, cache: Cache) -> tuple[FloatArray, FloatArray, Params]:
    """Return (dy, dmemory, gradients).

    >>> params = decoder_block_init(np.random.default_rng(0), 4, 8)
    >>> cache = decoder_block_forward(np.ones((2, 3, 4)), np.ones((2, 5, 4)), params, Shape())[1]
    >>> decoder_block_backward(np.ones((2, 3, 4)), cache)[1].shape
    (2, 5, 4)
    """
    attention, cross, feeding = cache
    grad_y, feed_forward, feed_forward_norm = sublayer_backward(grad, feeding, feed_forward_backward)
    grad_y, grad_memory, ask, cross_norm = sublayer_backward(grad_y, cross, multi_head_backward)
    grad_y, attend, attention_norm = sublayer_backward(grad_y, attention, self_attention_backward)
    grads = named("attention", attend) | named("attention_norm", attention_norm)
    grads |= named("cross", ask) | named("cross_norm", cross_norm)
    grads |= named("feed_forward", feed_forward) | named("feed_forward_norm", feed_forward_norm)
    return grad_y, grad_memory, grads


def encoder_decoder_init(rng: np.random.Generator, n_layers: int, width: int, inner: int, shape: Shape) -> Params:
    """Return the parameters of both stacks, with as many blocks each.

    >>> params = encoder_decoder_init(np.random.default_rng(0), 1, 4, 8, Shape())
    >>> params["decoder.0.cross.query.weight"].shape
    (4, 4)
    """
    decoder = named("norm", layer_norm_init(width)) if shape.norm_first else {}
    for number in range(n_layers):
        decoder |= named(str(number), decoder_block_init(rng, width, inner))
    return named("encoder", encoder_init(rng, n_layers, width, inner, shape)) | named("decoder", decoder)


def encoder_decoder_forward(
    x_BTD: FloatArray, y_BQD: FloatArray, params: Params, shape: Shape, mask: BoolArray | None = None
) -> tuple[FloatArray, Cache]:
    """Return the decoder's states (B, Q, D) for the input steps x and the output steps y known so far.

    Args:
        x_BTD: what is read.
        y_BQD: what is written, moved one step to the right, so that step q sees what was written before q.
        params: as of `encoder_decoder_init`.
        shape: of all blocks.
        mask: True where a step of x is no padding, (B, 1, 1, T).

    >>> params = encoder_decoder_init(np.random.default_rng(0), 2, 4, 8, Shape())
    >>> encoder_decoder_forward(np.ones((2, 5, 4)), np.ones((2, 3, 4)), params, Shape())[0].shape
    (2, 3, 4)
    """
    memory, of_encoder = encoder_forward(x_BTD, part(params, "encoder"), shape, mask)
    decoder = part(params, "decoder")
    y, caches, of_norm = y_BQD, [], None
    for number in range(n_blocks(decoder)):
        y, cache = decoder_block_forward(y, memory, part(decoder, str(number)), shape, mask)
        caches.append(cache)
    if shape.norm_first:
        y, of_norm = layer_norm_forward(y, part(decoder, "norm"))
    return y, (of_encoder, caches, of_norm, memory)


def encoder_decoder_backward(grad: FloatArray, cache: Cache) -> tuple[FloatArray, FloatArray, Params]:
    """Return (dx, dy, gradients): the decoder's blocks from last to first, then the encoder with all they ask of it.

    >>> params = encoder_decoder_init(np.random.default_rng(0), 2, 4, 8, Shape())
    >>> cache = encoder_decoder_forward(np.ones((2, 5, 4)), np.ones((2, 3, 4)), params, Shape())[1]
    >>> encoder_decoder_backward(np.ones((2, 3, 4)), cache)[2].keys() == params.keys()
    True
    """
    of_encoder, caches, of_norm, memory = cache
    grad_memory = np.zeros_like(memory)
    grads: Params = {}
    if of_norm is not None:
        grad, norm = layer_norm_backward(grad, of_norm)
        grads |= named("decoder.norm", norm)
    for number in reversed(range(len(caches))):
        grad, asked, of_block = decoder_block_backward(grad, caches[number])
        grad_memory = grad_memory + asked
        grads |= named(f"decoder.{number}", of_block)
    grad_x, encoder = encoder_backward(grad_memory, of_encoder)
    return grad_x, grad, grads | named("encoder", encoder)
