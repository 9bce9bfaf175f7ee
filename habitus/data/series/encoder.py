"""What a forecasting model knows of its series: how they are read, their step, and scales of the training part.

    table -> borders of the parts -> encoder (training steps only) -> origins

A series that training did not have is scaled by its own first steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from habitus.data.series.rows import Origins, Scales, measure_scales, origins_between
from habitus.data.series.step import Step
from habitus.data.series.table import SeriesData, SeriesTable
from habitus.errors import DataError

MOST_JUDGED, MOST_TRAINING = 5_000, 1_000_000  # origins; beyond them the stride grows
_CONTEXT_SEASONS, _CONTEXT_HORIZONS = 14, 3
_SHARE_OF_TRAINING = 2  # a context of its own accord takes at most half of the training part


@dataclass(frozen=True)
class SeriesEncoder:
    """How series become windows.

    Args:
        variables: what is forecast, in order.
        entity, time, time_zone, time_unit: the columns and how times are read.
        step: the distance of two values.
        season: steps a season.
        context: T, steps that are read.
        horizon: K, steps that are predicted.
        calendar: what is read of the calendar, and how many values each has.
        learned_until_us: training and validation end here.
        scales: of the training part, by series.
    """

    variables: tuple[str, ...]
    entity: str | None
    time: str
    time_zone: str | None
    time_unit: str | None
    step: Step
    season: int
    context: int
    horizon: int
    calendar: Mapping[str, int]
    learned_until_us: int
    names: tuple[str, ...]
    scales: Scales

    @classmethod
    def fit(
        cls, table: SeriesTable, data: SeriesData, borders: tuple[int, int, int], horizon: int, context: int | None
    ) -> SeriesEncoder:
        """Learn the scales of each series from its steps before the first border."""
        season = data.season or table.step.seasons[0]
        until_us, test_us, _ = borders
        n_training = np.array([
            np.searchsorted(table.time_us[start:stop], until_us)
            for start, stop in zip(table.offsets[:-1], table.offsets[1:], strict=True)
        ])  # fmt: skip
        if n_training.max() <= horizon:
            raise DataError(
                f"horizon={horizon} leaves nothing to learn from: the training part of the longest series has "
                f"{n_training.max():,} steps of {table.step}. Give longer series, a shorter horizon, or smaller shares "
                "for validation and test."
            )
        n_steps = context or _default_context(int(n_training.max()), horizon, season)
        span_us = until_us - int(table.time_us.min())
        return cls(
            table.variables, table.entity, table.time, data.time_zone, table.time_unit, table.step, season, n_steps,
            horizon, table.step.calendar(span_us), test_us, table.names,
            measure_scales(table, until_us, n_steps, season),
        )  # fmt: skip

    def read_as(self, data: SeriesData) -> SeriesData:
        """Return how another table is read by this model: as the first one, unless `data` says otherwise."""
        return replace(
            data,
            entity=data.entity or self.entity,
            time=data.time or self.time,
            time_zone=data.time_zone or self.time_zone,
            time_unit=data.time_unit or self.time_unit,  # type: ignore[arg-type]
        )

    def origins(self, table: SeriesTable, series: np.ndarray, at: np.ndarray, *, calendar: bool = True) -> Origins:
        """Return origins of a table, with its scales."""
        names = tuple(self.calendar) if calendar else ()
        scales = self._scales_of(table)
        return Origins(table, scales, series, at, self.context, self.horizon, self.season, names)

    def between(
        self, table: SeriesTable, begin_us: int, end_us: int, *, most: int, stride: int | None = None
    ) -> tuple[np.ndarray, np.ndarray, int, int]:
        """Return series and positions of a part's origins, the stride taken, and how many gaps left out.

        Args:
            table: the series.
            begin_us, end_us: the part.
            most: origins; beyond them the stride grows, unless it is given.
            stride: steps between two origins.
        """
        series, at, n_gaps = origins_between(table, begin_us, end_us, self.context, self.horizon, stride=stride or 1)
        if stride is None and len(at) > most:
            stride = -(-len(at) // most)
            series, at, n_gaps = origins_between(table, begin_us, end_us, self.context, self.horizon, stride=stride)
        return series, at, stride or 1, n_gaps

    def _scales_of(self, table: SeriesTable) -> Scales:
        """Return the scales of a table's series: those learned, or for others those of their first steps."""
        if table.names == self.names:
            return self.scales
        own = measure_scales(table, -(2**62), self.context, self.season)
        place = {name: number for number, name in enumerate(self.names)}
        known = np.array([place.get(name, -1) for name in table.names])
        parts = [
            np.where((known >= 0)[:, None], learned[known], measured)
            for learned, measured in zip(_parts(self.scales), _parts(own), strict=True)
        ]
        return Scales(*parts)

    def to_json(self) -> dict[str, Any]:
        """Return plain data for the bundle."""
        plain = {name: getattr(self, name) for name in _PLAIN}
        return plain | {
            "variables": list(self.variables),
            "names": list(self.names),
            "step": str(self.step),
            "calendar": dict(self.calendar),
            "scales": [np.where(np.isnan(one), -1.0, one).tolist() for one in _parts(self.scales)[1:]],
            "centers": self.scales.center.tolist(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SeriesEncoder:
        """Build from `to_json` data."""
        shape = (-1, len(data["variables"]))
        scale, naive = (np.array(one, np.float64).reshape(shape) for one in data["scales"])
        center = np.array(data["centers"], np.float64).reshape(shape)
        return cls(
            variables=tuple(data["variables"]),
            names=tuple(data["names"]),
            step=Step.parse(data["step"]),
            calendar=dict(data["calendar"]),
            scales=Scales(center, scale, np.where(naive < 0, np.nan, naive)),
            **{name: data[name] for name in _PLAIN},
        )


_PLAIN = ("entity", "time", "time_zone", "time_unit", "season", "context", "horizon", "learned_until_us")


def _parts(scales: Scales) -> Sequence[np.ndarray]:
    return scales.center, scales.scale, scales.naive


def _default_context(n_training: int, horizon: int, season: int) -> int:
    """Return 14 seasons or 3 horizons, whichever is longer, and at most half of the training part.

    >>> _default_context(8640, 96, 24), _default_context(60, 12, 12)
    (336, 30)
    """
    wanted = max(_CONTEXT_SEASONS * season, _CONTEXT_HORIZONS * horizon)
    return max(1, min(wanted, n_training // _SHARE_OF_TRAINING))
