"""Exponential smoothing with its form chosen by AICc (AutoETS; Hyndman & Khandakar 2008), through statsforecast.

Needs the extra `forecast` (pip install 'habitus[forecast]'); without it the rival is left out. It is fitted anew at
every origin, series and variable, which takes a tenth of a second and more each: so it answers only some origins,
evenly spread, and differences are paired on those.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from habitus.baselines.rival import Rival
from habitus.data.series.forecasts import DECILES, Answer
from habitus.data.series.rows import Origins
from habitus.errors import require

MOST_FITS = 30
_SEASONS_READ = 7  # of the past; longer ones cost more and told no more
_LONGEST_SEASON = 24  # what the method takes
_LEVELS = (20, 40, 60, 80)  # of central intervals, which give the deciles


def has_statsforecast() -> bool:
    """Tell whether the package is there, without importing it."""
    return importlib.util.find_spec("statsforecast") is not None


class ETS(Rival):
    """AutoETS on some origins.

    >>> ETS.name
    'ets'
    """

    name: ClassVar[str] = "ets"

    def fit(self, train_rows: Origins, validation_rows: Origins) -> Self:
        """Learn nothing: the method is fitted to each past."""
        require("statsforecast", "forecast")
        return self

    def answer(self, rows: Origins) -> Answer:
        """Return forecasts of some origins, NaN elsewhere."""
        models = require("statsforecast.models", "forecast")
        n_variables = len(rows.table.variables)
        season = rows.season if rows.season <= _LONGEST_SEASON else 1
        model = models.AutoETS(season_length=season)
        shape = (len(rows), rows.horizon, n_variables)
        point = np.full(shape, np.nan, np.float32)
        quantiles = np.full((*shape, len(DECILES)), np.nan, np.float32)
        values = rows.table.filled(rows.season)
        for i in answered(len(rows), n_variables):
            start = rows.table.offsets[rows.series[i]]
            begin = max(start, rows.at[i] - max(_SEASONS_READ * season, 3 * rows.horizon // 2))
            for v in range(n_variables):
                past = values[begin : rows.at[i], v]
                past = past[~np.isnan(past)]
                if len(past) < 4:  # the method needs some values; a shorter past is left unanswered
                    continue
                found = model.forecast(y=past, h=rows.horizon, level=list(_LEVELS))
                low = [found[f"lo-{level}"] for level in reversed(_LEVELS)]
                high = [found[f"hi-{level}"] for level in _LEVELS]
                point[i, :, v] = found["mean"]
                quantiles[i, :, v] = np.stack([*low, found["mean"], *high], axis=-1)
        return Answer(point, quantiles, DECILES)

    def to_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return nothing: there is nothing learned."""
        return {}, {}

    @classmethod
    def from_state(cls, arrays: Mapping[str, np.ndarray], document: Mapping[str, Any]) -> Self:
        """Build from `to_state`."""
        return cls()


def answered(n: int, n_variables: int) -> np.ndarray:
    """Return which of n origins are answered: as many as 30 fits allow, 10 at least, evenly spread.

    >>> answered(1000, 70).tolist()[:3]
    [0, 111, 222]
    """
    most = max(10, MOST_FITS // n_variables)
    return np.unique(np.linspace(0, max(n - 1, 0), min(most, n)).round().astype(np.int64))
