"""One more event of a stream through a causal Transformer: the arithmetic of `transformer.py` on a single step.

In NumPy on views of the weights, because torch takes several microseconds to start an operation, whatever its size,
and a step is some forty operations on 64 numbers each. The same formulas as `Block` and `Attention`; the tests hold
them against each other for every option. Weights that train on in place are read as they are; `Views` notices others.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from habitus.backbones.attention import rotations, sinusoidal_positions
from habitus.backbones.stream import Memory, StreamState

if TYPE_CHECKING:
    from habitus.backbones.transformer import TransformerStack

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
    _advance(stack, lead_BD, np.zeros(n_streams), memory, 0)
    return StreamState(0, memory=memory)


def step(stack: TransformerStack, step_BD: Tensor, days_B: Tensor, state: StreamState) -> tuple[Tensor, StreamState]:
    """Return the states (B, D) of one more event of each stream, and the state of the stream."""
    assert state.memory is not None, "a state of another backbone"
    index = 1 + state.n_steps  # the leading step stands in front
    memory = state.memory.with_room(index)
    x_BD = step_BD.detach().numpy()
    if stack.config.position == "learned":
        x_BD = x_BD + stack.positions.weight[state.n_steps].detach().numpy()
    if stack.config.position == "sinusoidal":
        x_BD = x_BD + _sinusoidal_table(_room_for(index), x_BD.shape[1])[state.n_steps]
    answer = _advance(stack, x_BD, days_B.numpy(), memory, index)
    return torch.from_numpy(answer), StreamState(index, memory=memory)


def _advance(stack: TransformerStack, x_BD: np.ndarray, days_B: np.ndarray, memory: Memory, index: int) -> np.ndarray:
    """Return the answer to step `index`, which joins the memory."""
    config, views, rotation = stack.config, Views.of(stack), None
    if config.position == "rotary":
        rotation = _rotation_table(_room_for(index), config.hidden_size, config.n_heads)[index]
    ahead_BT = memory.days_ahead(days_B, index) if config.time_aware else None
    for weights, keys_values in zip(views.blocks, memory.keys_values, strict=True):
        x_BD = _block(weights, x_BD, rotation, ahead_BT, keys_values, index)
    memory.n_filled = index + 1
    return _norm(x_BD, *views.norm)


def _block(
    weights: Weights,
    x_BD: np.ndarray,
    rotation: np.ndarray | None,
    ahead_BT: np.ndarray | None,
    keys_values: np.ndarray,
    index: int,
) -> np.ndarray:
    normed_BD = _norm(x_BD, *weights["attention_norm"])
    mixed_BD = _attention(weights, normed_BD, rotation, ahead_BT, keys_values, index)
    x_BD = _joined(x_BD, mixed_BD, weights.get("attention_gate"))
    normed_BD = _norm(x_BD, *weights["feedforward_norm"])
    raised = _linear(normed_BD, *weights["up"])
    if "swish" in weights:
        swish = _linear(normed_BD, *weights["swish"])
        raised *= swish * _sigmoid(swish)
    else:
        raised = _gelu(raised)
    return _joined(x_BD, _linear(raised, *weights["down"]), weights.get("feedforward_gate"))


def _attention(
    weights: Weights,
    x_BD: np.ndarray,
    rotation: np.ndarray | None,
    ahead_BT: np.ndarray | None,
    keys_values: np.ndarray,
    index: int,
) -> np.ndarray:
    """Return what the new step mixes of itself and the steps before it; its key and value join the memory.

    Args:
        weights: of the block.
        x_BD: states of the new step.
        rotation: of its position, complex (D,), for queries and keys of all heads; or None.
        ahead_BT: days from the new step to each step so far (0 or negative), if attention fades with time.
        keys_values: of this layer, (2, B, H, capacity, d).
        index: of the new step.
    """
    (B, D), (H, _, d) = x_BD.shape, keys_values.shape[2:]
    qkv = _linear(x_BD, *weights["attention.qkv"])
    if rotation is not None:
        qkv[:, : 2 * D].view(np.complex64)[...] *= rotation
    heads = qkv.reshape(B, 3, H, d)
    keys_values[..., index, :] = heads[:, 1:].swapaxes(0, 1)
    keys, values = keys_values[..., : index + 1, :]
    scores_BHT = (keys @ heads[:, 0, :, :, None])[..., 0] * np.float32(d**-0.5)
    if ahead_BT is not None:
        (log_rate_H,) = weights["attention"]
        scores_BHT += ahead_BT[:, None] * np.exp(log_rate_H)[:, None]
    scores_BHT -= scores_BHT.max(-1, keepdims=True)
    shares_BHT = np.exp(scores_BHT, out=scores_BHT)
    shares_BHT /= shares_BHT.sum(-1, keepdims=True)
    return _linear((shares_BHT[:, :, None] @ values).reshape(B, D), *weights["attention.out"])


def _joined(x: np.ndarray, branch: np.ndarray, gate: tuple[np.ndarray, ...] | None) -> np.ndarray:
    return x + branch if gate is None else x + branch * _sigmoid(_linear(x, *gate))


def _linear(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    return x @ weight + bias


def _norm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    even = _even(x.shape[-1])  # a mean as a product: np.mean takes three times as long
    centred = x - (x @ even)[:, None]
    spread = np.sqrt((centred * centred) @ even + _NORM_EPS)
    return centred / spread[:, None] * weight + bias


_NORM_EPS = np.float32(1e-5)  # of nn.LayerNorm


def _gelu(x: np.ndarray) -> np.ndarray:
    from scipy.special import ndtr  # here, because it takes a while and only streams need it

    return x * ndtr(x)


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
