"""A small text classifier: embeddings + positions, one encoder block, the mean over the text, a linear layer.

The whole of training in one file: forward, loss, backward, Adam, again. It reads ids; `ids_of` makes them of the
characters of texts, for toy tasks. Nothing here is fast, and nothing is hidden. id 0 is padding, id 1 a character
that training has not seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from habitus.reference.adam import adam_init, adam_step
from habitus.reference.attention import padding_mask
from habitus.reference.encoder import Shape, encoder_block_backward, encoder_block_forward, encoder_block_init
from habitus.reference.layers import (
    cross_entropy_backward,
    cross_entropy_forward,
    dropout_backward,
    dropout_forward,
    embedding_backward,
    embedding_forward,
    linear_backward,
    linear_forward,
    linear_init,
)
from habitus.reference.parameters import Cache, FloatArray, IntArray, Params, named, part
from habitus.reference.positions import sinusoidal_positions

SHAPE = Shape(n_heads=2, norm_first=True, activation="gelu")
N_RESERVED = 2


@dataclass(frozen=True)
class Texts:
    """Hold texts as ids (B, T), padded with 0 on the right, and how many are real in each row, (B,)."""

    ids: IntArray
    lengths: IntArray


def vocabulary(texts: Sequence[str]) -> list[str]:
    """Return the characters of the training texts in order; the first has the id 2.

    >>> vocabulary(["ba", "b"])
    ['a', 'b']
    """
    return sorted(set("".join(texts)))


def ids_of(texts: Sequence[str], characters: Sequence[str]) -> Texts:
    """Return texts as ids.

    >>> ids_of(["ab", "x"], ["a", "b"]).ids.tolist()
    [[2, 3], [1, 0]]
    """
    number = {character: position + N_RESERVED for position, character in enumerate(characters)}
    lengths = np.array([len(text) for text in texts])
    ids = np.zeros((len(texts), lengths.max()), dtype=np.int64)
    for row, text in enumerate(texts):
        ids[row, : len(text)] = [number.get(character, 1) for character in text]
    return Texts(ids, lengths)


def classifier_init(rng: np.random.Generator, n_ids: int, n_classes: int, width: int = 16) -> Params:
    """Return the parameters: `embedding`, `block`, `out`.

    >>> classifier_init(np.random.default_rng(0), n_ids=5, n_classes=2)["out.weight"].shape
    (2, 16)
    """
    params = {"embedding.weight": rng.normal(size=(n_ids, width))}
    return (
        params
        | named("block", encoder_block_init(rng, width, 2 * width))
        | named("out", linear_init(rng, width, n_classes))
    )


def classifier_forward(
    texts: Texts, params: Params, rate: float = 0.0, rng: np.random.Generator | None = None
) -> tuple[FloatArray, Cache]:
    """Return logits (B, C); dropout at `rate` where embedding and position are added (section 5.4 of Vaswani et al.).

    >>> params = classifier_init(np.random.default_rng(0), n_ids=5, n_classes=2)
    >>> classifier_forward(ids_of(["ab", "abab"], ["a", "b"]), params)[0].shape
    (2, 2)
    """
    n_steps, width = texts.ids.shape[1], params["embedding.weight"].shape[1]
    embedded, of_embedding = embedding_forward(texts.ids, part(params, "embedding"))
    placed = embedded + sinusoidal_positions(n_steps, width)
    x, of_dropout = dropout_forward(placed, rate, rng or np.random.default_rng(0))
    mask = padding_mask(texts.lengths, n_steps)
    x, of_block = encoder_block_forward(x, part(params, "block"), SHAPE, mask)
    share = mask[:, 0, 0, :, None] / texts.lengths[:, None, None]  # (B, T, 1): 1 / length, 0 in the padding
    logits, of_out = linear_forward((x * share).sum(axis=1), part(params, "out"))
    return logits, (of_embedding, of_dropout, of_block, share, of_out)


def classifier_backward(grad_BC: FloatArray, cache: Cache) -> Params:
    """Return the gradients of all parameters (ids have none).

    >>> params = classifier_init(np.random.default_rng(0), n_ids=5, n_classes=2)
    >>> cache = classifier_forward(ids_of(["ab", "abab"], ["a", "b"]), params)[1]
    >>> classifier_backward(np.ones((2, 2)), cache).keys() == params.keys()
    True
    """
    of_embedding, of_dropout, of_block, share, of_out = cache
    grad_mean, out = linear_backward(grad_BC, of_out)
    grad_x, block = encoder_block_backward(grad_mean[:, None, :] * share, of_block)
    embedding = embedding_backward(dropout_backward(grad_x, of_dropout), of_embedding)
    return named("embedding", embedding) | named("block", block) | named("out", out)


def classifier_fit(
    texts: Texts,
    target: IntArray,
    params: Params,
    n_steps: int = 100,
    rate: float = 0.01,
    dropout: float = 0.1,
    batch_size: int = 32,
    seed: int = 0,
) -> tuple[Params, list[float]]:
    """Return the parameters after `n_steps` of Adam on random batches, and the loss at each step.

    >>> texts, target = ids_of(["ab", "ba"], ["a", "b"]), np.array([0, 1])
    >>> params = classifier_init(np.random.default_rng(0), n_ids=4, n_classes=2, width=4)
    >>> params, losses = classifier_fit(texts, target, params, n_steps=40, rate=0.05)
    >>> losses[-1] < losses[0]
    True
    """
    rng, state, losses = np.random.default_rng(seed), adam_init(params), []
    for _ in range(n_steps):
        rows = rng.choice(len(target), min(batch_size, len(target)), replace=False)
        batch = Texts(texts.ids[rows], texts.lengths[rows])
        logits, cache = classifier_forward(batch, params, dropout, rng)
        loss, of_loss = cross_entropy_forward(logits, target[rows])
        grads = classifier_backward(cross_entropy_backward(1.0, of_loss), cache)
        params, state = adam_step(params, grads, state, rate)
        losses.append(loss)
    return params, losses


def classifier_predict(texts: Texts, params: Params) -> IntArray:
    """Return the class with the largest logit of each text, without dropout.

    >>> params = classifier_init(np.random.default_rng(0), n_ids=4, n_classes=2)
    >>> classifier_predict(ids_of(["ab"], ["a", "b"]), params).shape
    (1,)
    """
    return classifier_forward(texts, params)[0].argmax(axis=-1)
