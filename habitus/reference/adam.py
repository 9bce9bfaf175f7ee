"""Adam: a step for each parameter, by the running mean of its gradient over the root of that of its square.

Kingma & Ba 2015, https://arxiv.org/abs/1412.6980, algorithm 1, over a dictionary of arrays. New values are returned;
those passed in stay as they were. Knows nothing about networks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from habitus.reference.parameters import Params


@dataclass(frozen=True)
class AdamState:
    """Hold the number of steps t done, the first moments m and the second moments v."""

    t: int
    m: Params
    v: Params


def adam_init(params: Params) -> AdamState:
    """Return the state before the first step: t = 0, m = 0, v = 0.

    >>> adam_init({"w": np.ones(2)}).m["w"]
    array([0., 0.])
    """
    zeros = {name: np.zeros_like(value) for name, value in params.items()}
    return AdamState(0, zeros, dict(zeros))


def adam_step(
    params: Params,
    grads: Params,
    state: AdamState,
    rate: float = 0.001,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
) -> tuple[Params, AdamState]:
    """Return the parameters and the state after one step of algorithm 1.

    m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2;  m^ = m / (1 - beta1^t);  v^ = v / (1 - beta2^t);
    w = w - rate m^ / (sqrt(v^) + epsilon). m and v start at zero; dividing takes that start out of the means.

    >>> params = {"w": np.array([1.0])}
    >>> params, state = adam_step(params, {"w": np.array([250.0])}, adam_init(params))
    >>> params["w"].round(6), state.t     # the first step is `rate` long, however large the gradient
    (array([0.999]), 1)
    """
    t = state.t + 1
    after: Params = {}
    m: Params = {}
    v: Params = {}
    for name, value in params.items():
        g = grads[name]
        m[name] = beta1 * state.m[name] + (1 - beta1) * g
        v[name] = beta2 * state.v[name] + (1 - beta2) * g**2
        m_unbiased = m[name] / (1 - beta1**t)
        v_unbiased = v[name] / (1 - beta2**t)
        after[name] = value - rate * m_unbiased / (np.sqrt(v_unbiased) + epsilon)
    return after, AdamState(t, m, v)
