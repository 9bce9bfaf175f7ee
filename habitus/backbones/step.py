"""One more event of a stream through a causal Transformer: the arithmetic of `transformer.py` on a single step.

In NumPy on views of the weights, because torch takes several microseconds to start an operation, whatever its size,
and a step is some forty operations on 64 numbers each. The same formulas as `Block` and `Attention`; the tests hold
them against each other for every option. Weights that train on in place are read as they are; `Views` notices others.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from habitus.backbones.attention import rotations, sinusoidal_positions
from habitus.backbones.stream import Memory, StreamState

if TYPE_CHECKING:
    from habitus.backbones.transformer import Transformer, TransformerStack

Weights = Mapping[str, tuple[np.ndarray, ...]]  # of one block: (weight.T, bias) by the names of its modules


class Views:
    """The weights of a network as NumPy arrays that share its memory: to gather them takes as long as two steps.

    Args:
        stack: the network, in float32 and on the CPU.
    """

    def __init__(self, stack: TransformerStack) -> None:
        self.blocks = [_by_module(block) for block in stack.blocks]
        self.norm = _by_module(stack)["norm"]
        self.lead = stack.lead.detach().numpy()
        learned = stack.config.position == "learned"
        self.positions = stack.positions.weight.detach().numpy() if learned else np.empty((0, 0), np.float32)
        children = [held for module in stack.modules() for held in (module._modules, module._parameters)]
        self._links = [(held, name, child) for held in children for name, child in held.items()]
        self._places = [(weight, weight.data_ptr()) for weight in stack.parameters()]

    def still_hold(self) -> bool:
        """Return whether no module or weight was replaced or moved since."""
        return all(held.get(name) is child for held, name, child in self._links) and all(
            weight.data_ptr() == place for weight, place in self._places
        )

    @classmethod
    def of(cls, stack: TransformerStack) -> Views:
        """Return the views of a network, gathered anew only if they do not hold."""
        known = _VIEWS.get(stack)
        if known is None or not known.still_hold():
            known = _VIEWS[stack] = cls(stack)
        return known


_VIEWS: WeakKeyDictionary[nn.Module, Views] = WeakKeyDictionary()  # not on the network, where a copy would copy them


def _by_module(module: nn.Module) -> Weights:
    found: dict[str, tuple[np.ndarray, ...]] = {}
    for name, weight in module.named_parameters():
        owner, _, kind = name.rpartition(".")
        array = weight.detach().numpy()
        found[owner] = (*found.get(owner, ()), array.T if kind == "weight" else array)
    return found


def start(stack: TransformerStack, n_streams: int) -> StreamState:
    """Return the state of streams whose memory holds the leading step alone."""
    config = stack.config
    memory = Memory.empty(config.n_layers, n_streams, config.n_heads, config.hidden_size // config.n_heads)
    lead_BD = np.tile(Views.of(stack).lead, (n_streams, 1))
    _advance(stack.config, Views.of(stack), lead_BD, np.zeros(n_streams), memory, 0)
    return StreamState(0, memory=memory)


def step(stack: TransformerStack, step_BD: Tensor, days_B: Tensor, state: StreamState) -> tuple[Tensor, StreamState]:
    """Return the states (B, D) of one more event of each stream, and the state of the stream."""
    assert state.memory is not None, "a state of another backbone"
    index = 1 + state.n_steps  # the leading step stands in front
    memory = state.memory.within(stack.config.window, index - state.memory.n_dropped)
    memory = memory.with_room(index - memory.n_dropped)
    x_BD, views, config = step_BD.detach().numpy(), Views.of(stack), stack.config
    if config.position == "learned":
        x_BD = x_BD + views.positions[state.n_steps]
    if config.position == "sinusoidal":
        x_BD = x_BD + _sinusoidal_table(_room_for(index), x_BD.shape[1])[state.n_steps]
    answer = _advance(config, views, x_BD, days_B.numpy(), memory, index)
    return torch.from_numpy(answer), StreamState(index, memory=memory)


def _advance(
    config: Transformer, views: Views, x_BD: np.ndarray, days_B: np.ndarray, memory: Memory, index: int
) -> np.ndarray:
    """Return the answers (B, D) to step `index` of each stream, which joins the memory."""
    rotation = None
    if config.position == "rotary":
        rotation = _rotation_table(_room_for(index), config.hidden_size, config.n_heads)[index]
    place = index - memory.n_dropped
    ahead_BT = memory.days_ahead(days_B, place) if config.time_aware else None
    n_hidden = 0 if config.window is None else max(0, place - config.window)
    answer_BD = np.empty_like(x_BD)
    for row, x in enumerate(x_BD):  # stream by stream: products with one vector are the cheapest calls
        ahead_T = None if ahead_BT is None else ahead_BT[row]
        for weights, keys_values in zip(views.blocks, memory.keys_values[:, :, row], strict=True):
            x = _block(weights, x, rotation, ahead_T, keys_values, place, n_hidden)
        answer_BD[row] = norm_row(x, *views.norm)
    memory.n_filled = place + 1
    return answer_BD


def _block(
    weights: Weights,
    x: np.ndarray,
    rotation: np.ndarray | None,
    ahead_T: np.ndarray | None,
    keys_values: np.ndarray,
    place: int,
    n_hidden: int,
) -> np.ndarray:
    normed = norm_row(x, *weights["attention_norm"])
    mixed = _attention(weights, normed, rotation, ahead_T, keys_values, place, n_hidden)
    x = _joined(x, mixed, weights.get("attention_gate"))
    normed = norm_row(x, *weights["feedforward_norm"])
    raised = _linear(normed, *weights["up"])
    if "swish" in weights:
        swish = _linear(normed, *weights["swish"])
        raised *= swish * _sigmoid(swish)
    else:
        raised *= _normal_share(raised)  # GELU
    return _joined(x, _linear(raised, *weights["down"]), weights.get("feedforward_gate"))


def _attention(
    weights: Weights,
    x: np.ndarray,
    rotation: np.ndarray | None,
    ahead_T: np.ndarray | None,
    keys_values: np.ndarray,
    place: int,
    n_hidden: int,
) -> np.ndarray:
    """Return what the new step mixes of itself and the steps before it; its key and value join the memory.

    Args:
        weights: of the block.
        x: (D,), state of the new step.
        rotation: of its position, complex (D,), for queries and keys of all heads; or None.
        ahead_T: days from the new step to each step so far (0 or negative), if attention fades with time.
        keys_values: of this layer, (2, H, capacity, d).
        place: of the new step in it.
        n_hidden: steps after the leading one that are out of the window.
    """
    (D,), (_, H, _, d) = x.shape, keys_values.shape
    qkv = _linear(x, *weights["attention.qkv"])
    if rotation is not None:
        qkv[: 2 * D].view(np.complex64)[...] *= rotation
    heads = qkv.reshape(3, H, d)
    keys_values[:, :, place] = heads[1:]
    keys, values = keys_values[:, :, : place + 1]
    query = heads[0] * np.float32(d**-0.5)
    scores_HT = (keys @ query[:, :, None])[:, :, 0]
    if ahead_T is not None:
        (log_rate_H,) = weights["attention"]
        scores_HT += ahead_T * np.exp(log_rate_H)[:, None]
    if n_hidden:
        scores_HT[:, 1 : 1 + n_hidden] = -np.inf
    scores_HT -= np.maximum.reduce(scores_HT, axis=1, keepdims=True)
    shares_HT = np.exp(scores_HT, out=scores_HT)
    mixed_Hd = (shares_HT[:, None] @ values)[:, 0]
    mixed_Hd /= np.add.reduce(shares_HT, axis=1, keepdims=True)
    return _linear(mixed_Hd.reshape(D), *weights["attention.out"])


def _joined(x: np.ndarray, branch: np.ndarray, gate: tuple[np.ndarray, ...] | None) -> np.ndarray:
    return x + branch if gate is None else x + branch * _sigmoid(_linear(x, *gate))


def _linear(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    y: np.ndarray = x.dot(weight)
    y += bias
    return y


def norm_row(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Return the layer norm of one vector (D,): `nn.LayerNorm`, with its two means as products.

    >>> norm_row(np.array([1.0, 3.0], np.float32), np.ones(2, np.float32), np.zeros(2, np.float32)).round(3).tolist()
    [-1.0, 1.0]
    """
    centred: np.ndarray = x - x.dot(_even(len(x)))
    centred *= 1 / math.sqrt(float(centred.dot(centred)) / len(x) + _NORM_EPS)
    centred *= weight
    centred += bias
    return centred


_NORM_EPS = 1e-5  # of nn.LayerNorm


def _normal_share(x: np.ndarray) -> np.ndarray:
    from scipy.special import ndtr  # here, because it takes a while and only streams need it

    return ndtr(x)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    from scipy.special import expit

    return expit(x)


@functools.lru_cache(maxsize=8)
def _even(width: int) -> np.ndarray:
    return np.full(width, 1 / width, dtype=np.float32)


@functools.lru_cache(maxsize=8)
def _rotation_table(n_positions: int, width: int, n_heads: int) -> np.ndarray:
    """Return the turns of queries and keys of all heads at each position, complex (T, D)."""
    return rotations(n_positions, width // n_heads // 2).repeat(1, 2 * n_heads).numpy()


@functools.lru_cache(maxsize=8)
def _sinusoidal_table(n_positions: int, width: int) -> np.ndarray:
    return sinusoidal_positions(n_positions, width).numpy()


def _room_for(index: int) -> int:
    """Return a table size that holds an index and seldom changes: a power of two."""
    return 1 << max(index.bit_length(), 8)
