"""Score bands: rows cut by score into about equal parts, the highest first, as lenders and campaign planners read them.

Equal scores are never split over two bands, so heavy ties give fewer, uneven bands.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from habitus.errors import ConfigError
from habitus.metrics.intervals import Interval, wilson
from habitus.metrics.outcome import read_outcome
from habitus.metrics.ranked import equal_count_ends


@dataclass(frozen=True)
class Band:
    """Describe one band of rows.

    Args:
        band: 1 holds the highest scores.
        n: rows in it.
        positives: positive rows in it.
        lowest: lowest probability in it.
        highest: highest probability in it.
        predicted: mean probability.
        observed: share of positives, with its Wilson interval.
        capture: share of all positives that lie in this band or a higher one; NaN if there are none.
        lift: observed rate over the overall rate; NaN if there are no positives.
        ks: share of positives minus share of negatives down to this band; NaN if a class is missing.
    """

    band: int
    n: int
    positives: int
    lowest: float
    highest: float
    predicted: float
    observed: Interval
    capture: float
    lift: float
    ks: float

    def to_json(self) -> dict[str, Any]:
        """Return plain data; NaN becomes None."""
        plain = {name: None if value != value else value for name, value in asdict(self).items()}
        return plain | {"observed": self.observed.to_json()}


def score_bands(target: ArrayLike, probability: ArrayLike, n_bands: int = 10, confidence: float = 0.95) -> list[Band]:
    """Cut binary rows into bands of falling score.

    >>> bands = score_bands([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], n_bands=2)
    >>> [(band.n, band.positives, band.capture, band.ks) for band in bands]
    [(2, 1, 0.5, 0.0), (2, 1, 1.0, 0.0)]
    """
    if n_bands < 1:
        raise ConfigError(f"n_bands={n_bands} leaves no band; use 1 or more, usually 10.")
    outcome = read_outcome(target, probability)
    order = np.argsort(-outcome.probability[:, 0], kind="stable")
    score, truth = outcome.probability[order, 0], outcome.truth[order, 0]
    n_positive, start, bands = int(truth.sum()), 0, []
    for number, end in enumerate(equal_count_ends(score, n_bands) + 1, start=1):
        inside, hits = score[start:end], int(truth[start:end].sum())
        above = int(truth[:end].sum())
        capture = _ratio(above, n_positive)
        bands.append(
            Band(
                band=number,
                n=len(inside),
                positives=hits,
                lowest=float(inside[-1]),
                highest=float(inside[0]),
                predicted=float(inside.mean()),
                observed=wilson(hits, len(inside), confidence),
                capture=capture,
                lift=_ratio(hits * outcome.n, len(inside) * n_positive),
                ks=capture - _ratio(int(end) - above, outcome.n - n_positive),
            )
        )
        start = int(end)
    return bands


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
