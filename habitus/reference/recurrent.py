"""Recurrent cells (RNN, LSTM, GRU), their layers over time, and backward through time.

Weights are named and stacked as torch has them: `weight_ih` (G H, I) and `weight_hh` (G H, H), each with a bias, the
G gates below each other. A state is a tuple of (B, H) arrays: (h,) of an RNN and a GRU, (h, c) of an LSTM; h is the
output. Nothing here is a loop but the one over time. Shapes: B batch, T steps, I width of the input, H of the state.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from habitus.reference.parameters import Cache, FloatArray, Params

State: TypeAlias = tuple[FloatArray, ...]
_Cell: TypeAlias = Callable[[FloatArray, State, Params], tuple[State, Cache]]
_CellBackward: TypeAlias = Callable[[State, Cache], tuple[FloatArray, State, Params]]


def sigmoid(x: FloatArray) -> FloatArray:
    """Return 1 / (1 + exp(-x)), as (1 + tanh(x / 2)) / 2, which cannot overflow.

    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """
    return (1 + np.tanh(x / 2)) / 2


def recurrent_init(rng: np.random.Generator, n_in: int, hidden_size: int, n_gates: int) -> Params:
    """Return random weights and biases U(-1 / sqrt(H), 1 / sqrt(H)); gates: RNN 1, GRU 3, LSTM 4.

    >>> recurrent_init(np.random.default_rng(0), 2, 3, n_gates=4)["weight_ih"].shape
    (12, 2)
    """
    bound, rows = 1 / math.sqrt(hidden_size), n_gates * hidden_size
    shapes = {"weight_ih": (rows, n_in), "weight_hh": (rows, hidden_size), "bias_ih": (rows,), "bias_hh": (rows,)}
    return {name: rng.uniform(-bound, bound, shape) for name, shape in shapes.items()}


def rnn_cell_forward(x_BI: FloatArray, state: State, params: Params) -> tuple[State, Cache]:
    """Return h' = tanh(W_ih x + b_ih + W_hh h + b_hh) as (h',).

    Elman 1990, https://doi.org/10.1207/s15516709cog1402_1, with tanh as torch has it.

    >>> params = recurrent_init(np.random.default_rng(0), 2, 3, n_gates=1)
    >>> rnn_cell_forward(np.ones((1, 2)), (np.zeros((1, 3)),), params)[0][0].shape
    (1, 3)
    """
    (h,) = state
    after = np.tanh(_of_input(x_BI, params) + _of_state(h, params))
    return (after,), (x_BI, h, after, params)


def rnn_cell_backward(grad: State, cache: Cache) -> tuple[FloatArray, State, Params]:
    """Return (dx, (dh,), gradients), with da = dh' (1 - h'^2) by the sum inside tanh.

    >>> params = recurrent_init(np.random.default_rng(0), 2, 3, n_gates=1)
    >>> cache = rnn_cell_forward(np.ones((1, 2)), (np.zeros((1, 3)),), params)[1]
    >>> rnn_cell_backward((np.ones((1, 3)),), cache)[0].shape
    (1, 2)
    """
    x, h, after, params = cache
    inside = grad[0] * (1 - after**2)
    grad_x, grad_h, grads = _through_sums(inside, inside, x, h, params)
    return grad_x, (grad_h,), grads


def lstm_cell_forward(x_BI: FloatArray, state: State, params: Params) -> tuple[State, Cache]:
    """Return (h', c') of the gates i (input), f (forget), g (candidate), o (output), stacked in this order.

    i = sigmoid(W_i x + U_i h + b_i), f and o alike, g = tanh(W_g x + U_g h + b_g);  c' = f c + i g;  h' = o tanh(c').

    Hochreiter & Schmidhuber 1997, https://doi.org/10.1162/neco.1997.9.8.1735; forget gate of Gers et al. 2000,
    https://doi.org/10.1162/089976600300015015. The gates see x and h, not c: gates that see c ("peepholes", as in
    Graves 2013, https://arxiv.org/abs/1308.0850, eq. 7-11) are a variant that torch, TensorFlow and ONNX leave out by
    default.

    >>> params = recurrent_init(np.random.default_rng(0), 2, 3, n_gates=4)
    >>> len(lstm_cell_forward(np.ones((1, 2)), (np.zeros((1, 3)), np.zeros((1, 3))), params)[0])
    2
    """
    h, c = state
    gates = np.split(_of_input(x_BI, params) + _of_state(h, params), 4, axis=-1)
    i, f, o = sigmoid(gates[0]), sigmoid(gates[1]), sigmoid(gates[3])
    g = np.tanh(gates[2])
    c_after = f * c + i * g
    bent = np.tanh(c_after)
    return (o * bent, c_after), (x_BI, h, c, i, f, g, o, bent, params)


def lstm_cell_backward(grad: State, cache: Cache) -> tuple[FloatArray, State, Params]:
    """Return (dx, (dh, dc), gradients): c' is reached by dc' and, through h', by dh' o (1 - tanh(c')^2).

    >>> params, zero = recurrent_init(np.random.default_rng(0), 2, 3, n_gates=4), np.zeros((1, 3))
    >>> cache = lstm_cell_forward(np.ones((1, 2)), (zero, zero), params)[1]
    >>> lstm_cell_backward((np.ones((1, 3)), zero), cache)[2]["weight_ih"].shape
    (12, 2)
    """
    x, h, c, i, f, g, o, bent, params = cache
    grad_h_after, grad_c_after = grad
    grad_c_after = grad_c_after + grad_h_after * o * (1 - bent**2)
    inside_i = grad_c_after * g * i * (1 - i)
    inside_f = grad_c_after * c * f * (1 - f)
    inside_g = grad_c_after * i * (1 - g**2)
    inside_o = grad_h_after * bent * o * (1 - o)
    inside = np.concatenate([inside_i, inside_f, inside_g, inside_o], axis=-1)
    grad_x, grad_h, grads = _through_sums(inside, inside, x, h, params)
    return grad_x, (grad_h, grad_c_after * f), grads


def gru_cell_forward(x_BI: FloatArray, state: State, params: Params) -> tuple[State, Cache]:
    """Return (h',) of the gates r (reset), z (update), n (candidate), stacked in this order.

    r = sigmoid(W_r x + b_r + U_r h + c_r), z alike;  n = tanh(W_n x + b_n + r (U_n h + c_n));  h' = (1 - z) n + z h.

    Cho et al. 2014, https://arxiv.org/abs/1406.1078, eq. 5-8, as torch computes it: it differs from the paper in that
    r multiplies U_n h + c_n and not h before U_n (eq. 8), and in the biases. z is the share that is KEPT, here as in
    the paper; Chung et al. 2014, https://arxiv.org/abs/1412.3555, section 3.2, write the same network with 1 - z.

    >>> params = recurrent_init(np.random.default_rng(0), 2, 3, n_gates=3)
    >>> gru_cell_forward(np.ones((1, 2)), (np.zeros((1, 3)),), params)[0][0].shape
    (1, 3)
    """
    (h,) = state
    x_r, x_z, x_n = np.split(_of_input(x_BI, params), 3, axis=-1)
    h_r, h_z, h_n = np.split(_of_state(h, params), 3, axis=-1)
    r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
    n = np.tanh(x_n + r * h_n)
    return ((1 - z) * n + z * h,), (x_BI, h, r, z, n, h_n, params)


def gru_cell_backward(grad: State, cache: Cache) -> tuple[FloatArray, State, Params]:
    """Return (dx, (dh,), gradients); h reaches h' through z h directly and through the three sums.

    >>> params = recurrent_init(np.random.default_rng(0), 2, 3, n_gates=3)
    >>> cache = gru_cell_forward(np.ones((1, 2)), (np.zeros((1, 3)),), params)[1]
    >>> gru_cell_backward((np.ones((1, 3)),), cache)[2]["weight_hh"].shape
    (9, 3)
    """
    x, h, r, z, n, h_n, params = cache
    (grad_after,) = grad
    inside_n = grad_after * (1 - z) * (1 - n**2)
    inside_z = grad_after * (h - n) * z * (1 - z)
    inside_r = inside_n * h_n * r * (1 - r)
    by_input = np.concatenate([inside_r, inside_z, inside_n], axis=-1)
    by_state = np.concatenate([inside_r, inside_z, inside_n * r], axis=-1)  # r stands before the state's sum only
    grad_x, grad_h, grads = _through_sums(by_input, by_state, x, h, params)
    return grad_x, (grad_h + grad_after * z,), grads


def rnn_forward(x_BTI: FloatArray, state: State, params: Params) -> tuple[FloatArray, Cache]:
    """Return the states h of all steps, (B, T, H), from the state before the first; `lstm_`, `gru_forward` alike.

    >>> params = recurrent_init(np.random.default_rng(0), 2, 3, n_gates=1)
    >>> rnn_forward(np.ones((1, 5, 2)), (np.zeros((1, 3)),), params)[0].shape
    (1, 5, 3)
    """
    return _unrolled(rnn_cell_forward, x_BTI, state, params)


def rnn_backward(grad_BTH: FloatArray, cache: Cache) -> tuple[FloatArray, State, Params]:
    """Return (dx, gradient of the state before the first step, gradients), by `rnn_cell_backward` at every step.

    >>> params, zero = recurrent_init(np.random.default_rng(0), 2, 3, n_gates=1), np.zeros((1, 3))
    >>> cache = rnn_forward(np.ones((1, 5, 2)), (zero,), params)[1]
    >>> rnn_backward(np.ones((1, 5, 3)), cache)[0].shape
    (1, 5, 2)
    """
    return _back_through_time(rnn_cell_backward, grad_BTH, cache)


def lstm_forward(x_BTI: FloatArray, state: State, params: Params) -> tuple[FloatArray, Cache]:
    """Return the states h of all steps, (B, T, H), from (h, c) before the first.

    >>> params, zero = recurrent_init(np.random.default_rng(0), 2, 3, n_gates=4), np.zeros((1, 3))
    >>> lstm_forward(np.ones((1, 5, 2)), (zero, zero), params)[0].shape
    (1, 5, 3)
    """
    return _unrolled(lstm_cell_forward, x_BTI, state, params)


def lstm_backward(grad_BTH: FloatArray, cache: Cache) -> tuple[FloatArray, State, Params]:
    """Return (dx, (dh, dc) before the first step, gradients), by `lstm_cell_backward` at every step.

    >>> params, zero = recurrent_init(np.random.default_rng(0), 2, 3, n_gates=4), np.zeros((1, 3))
    >>> cache = lstm_forward(np.ones((1, 5, 2)), (zero, zero), params)[1]
    >>> lstm_backward(np.ones((1, 5, 3)), cache)[0].shape
    (1, 5, 2)
    """
    return _back_through_time(lstm_cell_backward, grad_BTH, cache)


def gru_forward(x_BTI: FloatArray, state: State, params: Params) -> tuple[FloatArray, Cache]:
    """Return the states h of all steps, (B, T, H), from (h,) before the first.

    >>> params, zero = recurrent_init(np.random.default_rng(0), 2, 3, n_gates=3), np.zeros((1, 3))
    >>> gru_forward(np.ones((1, 5, 2)), (zero,), params)[0].shape
    (1, 5, 3)
    """
    return _unrolled(gru_cell_forward, x_BTI, state, params)


def gru_backward(grad_BTH: FloatArray, cache: Cache) -> tuple[FloatArray, State, Params]:
    """Return (dx, (dh,) before the first step, gradients), by `gru_cell_backward` at every step.

    >>> params, zero = recurrent_init(np.random.default_rng(0), 2, 3, n_gates=3), np.zeros((1, 3))
    >>> cache = gru_forward(np.ones((1, 5, 2)), (zero,), params)[1]
    >>> gru_backward(np.ones((1, 5, 3)), cache)[0].shape
    (1, 5, 2)
    """
    return _back_through_time(gru_cell_backward, grad_BTH, cache)


def _unrolled(cell: _Cell, x_BTI: FloatArray, state: State, params: Params) -> tuple[FloatArray, Cache]:
    outputs, caches = [], []
    for t in range(x_BTI.shape[1]):
        state, cache = cell(x_BTI[:, t], state, params)
        outputs.append(state[0])
        caches.append(cache)
    return np.stack(outputs, axis=1), (caches, len(state))


def _back_through_time(cell: _CellBackward, grad_BTH: FloatArray, cache: Cache) -> tuple[FloatArray, State, Params]:
    """Go from the last step to the first (Werbos 1990, https://doi.org/10.1109/5.58337).

    The state of a step is reached by its own output and by the step after it: the two gradients add. The parameters
    are the same at every step: their gradients add too.
    """
    caches, n_parts = cache
    grad_state: State = tuple(np.zeros_like(grad_BTH[:, 0]) for _ in range(n_parts))
    grads_x = []
    total: Params = {}
    for t in reversed(range(len(caches))):
        grad_state = (grad_state[0] + grad_BTH[:, t], *grad_state[1:])
        grad_x, grad_state, grads = cell(grad_state, caches[t])
        grads_x.append(grad_x)
        total = {name: total.get(name, 0.0) + value for name, value in grads.items()}
    return np.stack(grads_x[::-1], axis=1), grad_state, total


def _of_input(x_BI: FloatArray, params: Params) -> FloatArray:
    return x_BI @ params["weight_ih"].T + params["bias_ih"]


def _of_state(h_BH: FloatArray, params: Params) -> FloatArray:
    return h_BH @ params["weight_hh"].T + params["bias_hh"]


def _through_sums(
    by_input: FloatArray, by_state: FloatArray, x: FloatArray, h: FloatArray, params: Params
) -> tuple[FloatArray, FloatArray, Params]:
    """Return (dx, dh, gradients) from the gradients by `_of_input` and by `_of_state`, (B, G H) each."""
    grads = {
        "weight_ih": by_input.T @ x,
        "weight_hh": by_state.T @ h,
        "bias_ih": by_input.sum(axis=0),
        "bias_hh": by_state.sum(axis=0),
    }
    return by_input @ params["weight_ih"], by_state @ params["weight_hh"], grads
