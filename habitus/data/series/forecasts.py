"""What was forecast, and what came true: the arrays that models and rivals answer with, and that metrics read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

DECILES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True)
class Truth:
    """What came true; n origins, K steps, V variables.

    Args:
        values: float64 (n, K, V), NaN where nothing is known.
        center, scale: mean and standard deviation of the training part, (n, V).
        naive: scale of MASE, (n, V), NaN where there is none.
        series: int64 (n,), whose origin it is; origins of one series are neighbours, in time order.
        block: origins that a block of the bootstrap spans.
    """

    values: np.ndarray
    center: np.ndarray
    scale: np.ndarray
    naive: np.ndarray
    series: np.ndarray
    block: int = 1

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True)
class Answer:
    """What was forecast; NaN where there is no answer.

    Args:
        point: (n, K, V).
        quantiles: (n, K, V, Q), rising, or None.
        levels: of the quantiles, 0 to 1.
    """

    point: np.ndarray
    quantiles: np.ndarray | None = None
    levels: tuple[float, ...] = ()

    def __len__(self) -> int:
        return len(self.point)
