"""A number with its uncertainty, and the three ways the metrics get one.

- `wilson`: a share of counted things (accuracy, an observed rate). Honest at 0 %, at 100 % and for few rows.
- `resamples` + one of three bootstrap intervals: everything else. A resample is kept as HOW OFTEN each row was
  drawn, so a metric that can take weights is computed for many resamples in one numpy pass.
- DeLong's variance for the AUC, in `delong.py`.

All of them take the rows to be independent. Several examples of one entity (many cutoffs) are not:
the intervals are then too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from habitus.errors import ConfigError

Floats = NDArray[np.float64]
CHUNK_NUMBERS = 2**16  # weights held at once (512 KiB): the passes over a chunk then stay in the cache


@dataclass(frozen=True)
class Interval:
    """Hold a value and the ends of its confidence interval; NaN stands for "undefined".

    >>> print(Interval(0.75, 0.7, 0.8))
    0.7500 [0.7000, 0.8000]
    >>> Interval(0.75, 0.7, float("nan")).to_json()
    {'value': 0.75, 'low': 0.7, 'high': None}
    """

    value: float
    low: float
    high: float

    @classmethod
    def undefined(cls) -> Interval:
        """Return the interval of a metric that has no value on this input (JSON: three nulls)."""
        return cls(math.nan, math.nan, math.nan)

    @property
    def is_defined(self) -> bool:
        """Tell whether there is a value."""
        return not math.isnan(self.value)

    def to_json(self) -> dict[str, float | None]:
        """Return plain data; what is not finite becomes None, because JSON has no NaN."""
        numbers = {"value": self.value, "low": self.low, "high": self.high}
        return {name: float(number) if math.isfinite(number) else None for name, number in numbers.items()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Interval:
        """Build from `to_json` data."""
        value, low, high = (math.nan if data[k] is None else float(data[k]) for k in ("value", "low", "high"))
        return cls(value, low, high)

    def __str__(self) -> str:
        """Return it for a person, with four decimals."""
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]" if self.is_defined else "undefined"


def normal_quantile(confidence: float) -> float:
    """Return z such that a standard normal lies within +-z with this probability.

    >>> round(normal_quantile(0.95), 4)
    1.96
    """
    if not 0 < confidence < 1:
        raise ConfigError(f"confidence={confidence} is not a probability between 0 and 1; use for example 0.95.")
    return NormalDist().inv_cdf(0.5 + confidence / 2)


def wilson(successes: float, n: float, confidence: float = 0.95) -> Interval:
    """Return a share with its score interval (Wilson 1927, https://doi.org/10.2307/2276774).

    Choose it over value +- z * standard error, which claims certainty when all of few rows agree.

    >>> print(wilson(10, 10))
    1.0000 [0.7225, 1.0000]
    """
    z = normal_quantile(confidence)
    if n <= 0:
        return Interval.undefined()
    share, widened = successes / n, 1 + z**2 / n
    centre = (share + z**2 / (2 * n)) / widened
    half = z * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / widened
    # At the ends the formula touches 0 or 1 exactly; rounding must not push it past the value.
    return Interval(share, max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share)))


def resamples(n: int, n_bootstrap: int, seed: int = 0) -> Iterator[Floats]:
    """Yield blocks of bootstrap weights, float64 (b, n); every line counts how often each row was drawn.

    >>> [block.sum(axis=1).tolist() for block in resamples(4, n_bootstrap=2)]
    [[4.0, 4.0]]
    """
    if n_bootstrap < 0:
        raise ConfigError(f"n_bootstrap={n_bootstrap} is negative; use 500, or 0 for no bootstrap intervals.")
    random = np.random.default_rng(seed)
    height = max(1, CHUNK_NUMBERS // max(n, 1))
    for start in range(0, n_bootstrap if n else 0, height):
        lines = min(height, n_bootstrap - start)
        drawn = random.integers(0, n, size=(lines, n), dtype=np.int64)
        drawn += np.arange(lines)[:, None] * n
        yield np.bincount(drawn.ravel(), minlength=lines * n).reshape(lines, n).astype(np.float64)


def bootstrap_interval(value: float, draws: Floats, confidence: float = 0.95) -> Interval:
    """Turn a metric's values on resamples, (b,), into a percentile interval around its value on the data.

    Choose it for means and what behaves like them. Draws that are NaN (undefined there) are left out.

    >>> print(bootstrap_interval(0.5, np.linspace(0.4, 0.6, 201), confidence=0.9))
    0.5000 [0.4100, 0.5900]
    """
    return _around(value, *_quantiles(draws, confidence))


def reflected_interval(value: float, draws: Floats, confidence: float = 0.95, lowest: float = 0.0) -> Interval:
    """Return the "basic" bootstrap interval, 2 * value - quantile, for a maximum such as KS; within lowest..1.

    Noise pushes a maximum up, and pushes the resamples' maxima up again. The first push was measured at 1.6 to 2 times
    the second (n = 100 to 2,000), so its end on that side moves by one push more.

    >>> print(reflected_interval(0.5, np.linspace(0.42, 0.62, 201), confidence=0.9))
    0.5000 [0.3700, 0.5700]
    """
    low, high = _quantiles(draws, confidence)
    push = float(np.mean(draws[np.isfinite(draws)])) - value if math.isfinite(low) else 0.0
    low, high = 2 * value - high - max(push, 0.0), 2 * value - low - min(push, 0.0)
    return _around(value, max(low, lowest), min(high, 1.0))


def log_odds_interval(value: float, draws: Floats, confidence: float = 0.95) -> Interval:
    """Return value +- z standard deviations on the log-odds scale, for a skewed metric within 0..1.

    Choose it for average precision: its percentiles lie too high when positives are rare
    (Boyd, Eng & Page 2013, https://doi.org/10.1007/978-3-642-40994-3_29, on intervals for this area).

    >>> print(log_odds_interval(0.9, np.array([0.85, 0.9, 0.95])))
    0.9000 [0.7721, 0.9599]
    """
    inside = draws[(draws > 0) & (draws < 1)]
    if not 0 < value < 1 or inside.size < 2:
        return bootstrap_interval(value, draws, confidence)
    half = normal_quantile(confidence) * float(np.std(np.log(inside / (1 - inside))))
    odds = value / (1 - value)
    low, high = (odds * math.exp(step) for step in (-half, half))
    return _around(value, low / (1 + low), high / (1 + high))


def _quantiles(draws: Floats, confidence: float) -> tuple[float, float]:
    known = draws[np.isfinite(draws)]
    if known.size == 0:
        return math.nan, math.nan
    tail = (1 - confidence) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high)


def _around(value: float, low: float, high: float) -> Interval:
    if math.isnan(value):
        return Interval.undefined()
    if math.isnan(low) or math.isnan(high):
        return Interval(value, math.nan, math.nan)
    return Interval(value, min(low, value), max(high, value))
