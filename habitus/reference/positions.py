"""Positions: what tells attention, which by itself sees a set, which step came first.

They are added to the embeddings; they are constants, so the gradient passes the addition unchanged and there is no
backward here.
"""

from __future__ import annotations

import numpy as np

from habitus.reference.parameters import FloatArray


def sinusoidal_positions(n_steps: int, width: int) -> FloatArray:
    """Return PE[t, 2i] = sin(t / 10000^(2i / D)) and PE[t, 2i + 1] = cos(t / 10000^(2i / D)), (T, D).

    Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, section 3.5. Each pair of columns is the hand of a clock;
    the first turns once in 6.28 steps, the last once in almost 62,832. t counts from 0.

    >>> sinusoidal_positions(2, 4).round(4)
    array([[0.    , 1.    , 0.    , 1.    ],
           [0.8415, 0.5403, 0.01  , 1.    ]])
    """
    rate = 10_000.0 ** (-np.arange(0, width, 2) / width)  # (ceil(D / 2),)
    angle = np.arange(n_steps)[:, None] * rate
    pairs = np.stack([np.sin(angle), np.cos(angle)], axis=-1)  # (T, ceil(D / 2), 2)
    return pairs.reshape(n_steps, -1)[:, :width]
