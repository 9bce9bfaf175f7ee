"""The rivals that repeat: the last value, and the last season.

Missing values of the past are read filled, as the network reads them (`SeriesTable.filled`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from habitus.baselines.forecast.residuals import spread, with_quantiles
from habitus.baselines.rival import Rival
from habitus.data.series.forecasts import Answer
from habitus.data.series.rows import Origins


class LastValue(Rival):
    """Repeat the last value of the past.

    >>> LastValue.name
    'last value'
    """

    name: ClassVar[str] = "last value"
    season_: int = 1
    deciles_: np.ndarray

    def fit(self, train_rows: Origins, validation_rows: Origins) -> Self:
        """Measure how far it is off in training."""
        self.deciles_ = spread(train_rows, self.points)
        return self

    def points(self, rows: Origins) -> np.ndarray:
        """Return the value a whole number of seasons before each step, in the own unit, float64 (n, K, V).

        A series that is shorter than a season repeats its last value.
        """
        start = rows.table.offsets[:-1][rows.series]
        season = np.where(rows.at - start >= self.season_, self.season_, 1)[:, None]
        places = rows.at[:, None] - season + np.arange(rows.horizon) % season
        return np.asarray(rows.filled[places] * rows.scale[:, None] + rows.center[:, None])

    def answer(self, rows: Origins) -> Answer:
        """Return the forecasts, with quantiles of their errors in training."""
        return with_quantiles(rows, self.points, self.deciles_)

    def to_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return the errors' quantiles and the season."""
        return {"deciles": self.deciles_}, {"season": self.season_}

    @classmethod
    def from_state(cls, arrays: Mapping[str, np.ndarray], document: Mapping[str, Any]) -> Self:
        """Build from `to_state`."""
        rival = cls()
        rival.deciles_, rival.season_ = np.asarray(arrays["deciles"]), int(document["season"])
        return rival


class SeasonalNaive(LastValue):
    """Repeat the last season: of those that the step suggests, the one that is better on validation.

    For hours a day and a week are tried. The season of MASE stays what it is.

    >>> SeasonalNaive.name
    'seasonal naive'
    """

    name: ClassVar[str] = "seasonal naive"

    def fit(self, train_rows: Origins, validation_rows: Origins) -> Self:
        """Choose the season and measure how far it is off in training."""
        some = validation_rows.take(np.unique(np.linspace(0, len(validation_rows) - 1, 500).round().astype(np.int64)))
        errors = {}
        for season in dict.fromkeys((train_rows.season, *train_rows.table.step.seasons)):
            self.season_ = season
            errors[season] = np.nanmean(np.abs(self.points(some) - some.targets()) / some.scale[:, None])
        self.season_ = min(errors, key=lambda season: errors[season])
        return super().fit(train_rows, validation_rows)
