"""What a predicted number estimates, and the scale on which it is learned: the same for a network and its rivals.

The loss decides what an answer means: squared error the mean, absolute error the median, the pinball loss quantiles;
Huber's is between mean and median. The scale follows the loss: mean and standard deviation for squared error, median
and interquartile range (over 1.349, which is the deviation of a normal) for the others, so that a few huge targets do
not squeeze all the rest into a corner.

With `log`, log(1 + y) is learned. Order survives the way back, so medians and quantiles stay what they are. A mean does
not: exp of a mean of logs lies near the median, below the mean. Answers to squared error are therefore multiplied by
one factor, learned on validation rows, that makes their mean the mean of the targets there. That is Duan's smearing
(1983, https://doi.org/10.1080/01621459.1983.10478017) as a ratio of sums instead of a mean of ratios, which a few rows
of small answers would rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

_NORMAL_IQR = 1.349


@dataclass(frozen=True)
class Aim:
    """What answers estimate, and their scale.

    Args:
        loss: "squared", "absolute", "huber" or "quantile".
        levels: of the quantiles, ascending; empty for the other losses.
        log: whether log(1 + y) is learned.
        center, spread: of the (logged) targets of training.
        highest: largest (logged) target of training.
        huber_delta: error, in spreads, from which Huber's loss grows in proportion.

    >>> aim = Aim.fit(np.array([0.0, 10.0, 20.0]), "absolute")
    >>> aim.center, aim.to_unit(aim.to_scale(np.array([5.0]))).tolist()
    (10.0, [5.0])
    """

    loss: str = "squared"
    levels: tuple[float, ...] = ()
    log: bool = False
    center: float = 0.0
    spread: float = 1.0
    highest: float = np.inf
    huber_delta: float = 1.0

    @classmethod
    def fit(
        cls,
        target: np.ndarray,
        loss: str = "squared",
        levels: tuple[float, ...] = (),
        *,
        log: bool = False,
        huber_delta: float = 1.0,
    ) -> Aim:
        """Learn the scale from the targets of training, (n,)."""
        shaped = np.log1p(target) if log else np.asarray(target, dtype=np.float64)
        low, center, high = np.quantile(shaped, [0.25, 0.5, 0.75])
        spread = float(high - low) / _NORMAL_IQR
        if loss == "squared":
            center, spread = shaped.mean(), 0.0
        spread = spread or float(shaped.std()) or 1.0  # half of the targets may be equal
        return cls(loss, tuple(levels), log, float(center), spread, float(shaped.max()), huber_delta)

    @property
    def n_answers(self) -> int:
        """Numbers in an answer: Q quantiles, or 1."""
        return max(len(self.levels), 1)

    def to_scale(self, target: np.ndarray) -> np.ndarray:
        """Return what is learned, of targets in their unit."""
        return ((np.log1p(target) if self.log else target) - self.center) / self.spread

    def to_unit(self, scaled: np.ndarray) -> np.ndarray:
        """Return answers in the target's unit, float64; logged ones lie between 0 and the largest target of training.

        A line through logarithms that is followed beyond what training saw ends at absurd amounts.
        """
        shaped = np.asarray(scaled, dtype=np.float64) * self.spread + self.center
        return np.expm1(np.clip(shaped, 0.0, self.highest)) if self.log else shaped

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self) | {"levels": list(self.levels)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Aim:
        """Build from `to_json` data."""
        return cls(**{**data, "levels": tuple(data["levels"])})


@dataclass(frozen=True)
class MeanFactor:
    """What answers learned as logarithms are multiplied by, so that they are means.

    >>> MeanFactor(1.5).kind, MeanFactor().kind
    ('mean factor', 'none')
    """

    factor: float = 1.0

    @property
    def kind(self) -> str:
        """Name of the map."""
        return "none" if self.factor == 1.0 else "mean factor"

    def to_json(self) -> dict[str, Any]:
        """Return plain data for the bundle."""
        return {"kind": self.kind, "parameters": {"factor": self.factor}}


def mean_factor(aim: Aim, target: np.ndarray, answer: np.ndarray) -> float:
    """Return what brings answers from logs to the mean of targets (n,) not trained on; 1 where nothing is to do.

    >>> mean_factor(Aim("squared", log=True), np.array([1.0, 7.0]), np.array([[1.0], [3.0]]))
    1.6666666666666667
    """
    if aim.loss != "squared" or not aim.log or len(target) == 0:
        return 1.0
    return float((np.asarray(target, dtype=np.float64) + 1).sum() / (answer[:, 0] + 1).sum())


def with_factor(answer: np.ndarray, factor: float) -> np.ndarray:
    """Return answers times a `mean_factor`, 0 or more.

    >>> with_factor(np.array([1.0, 0.0]), 1.5).tolist()
    [2.0, 0.5]
    """
    return answer if factor == 1.0 else np.maximum((answer + 1) * factor - 1, 0.0)
