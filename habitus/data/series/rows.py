"""Origins: a series and the first step that is to be predicted from all steps before it.

    context: T steps before the origin, filled and flagged      target: K steps from the origin on

`Origins` name places in a `SeriesTable`, so that the overlapping windows of a series are never copied until they are
read. A history shorter than T is padded in front, and the padding is flagged as not seen. Every context ends before
its origin: what comes after cannot change it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from habitus.data.series.table import SeriesTable

_SEEN_SHARE = 0.5  # of a context; origins that see less of theirs are left out


@dataclass(frozen=True)
class Scales:
    """What the training part says of each series and variable, (n, V) float64 each.

    Args:
        center, scale: mean and standard deviation (of the population), 1 where a series is constant.
        naive: mean absolute difference of values a season apart, the scale of MASE; NaN where there is none.
    """

    center: np.ndarray
    scale: np.ndarray
    naive: np.ndarray


@dataclass(frozen=True)
class Origins:
    """Places to forecast from; n of them.

    Args:
        table: the series.
        scales: of each series of the table.
        series: int64 (n,), number of the series.
        at: int64 (n,), position of the first step to predict in the table's flat arrays.
        context: T, steps that are read.
        horizon: K, steps that are predicted.
        season: steps a season, for filling and for MASE.
        calendar: what is read of the calendar.
    """

    table: SeriesTable
    scales: Scales
    series: np.ndarray
    at: np.ndarray
    context: int
    horizon: int
    season: int
    calendar: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.at)

    def take(self, rows: np.ndarray) -> Origins:
        """Return some of the origins."""
        return replace_origins(self, self.series[rows], self.at[rows])

    def arrays(self) -> Iterable[np.ndarray]:
        """Return everything that a fingerprint must cover."""
        yield from (self.table.values, self.table.offsets, self.table.time_us, self.series, self.at)

    @cached_property
    def _cache(self) -> dict[str, np.ndarray]:
        """Arrays of whole tables, made once and shared by all origins that are taken from these."""
        return {}

    @property
    def filled(self) -> np.ndarray:
        """Values on the scale of the training part, filled from the past, 0 before the first; float32 (S, V)."""
        if "filled" not in self._cache:
            number = np.repeat(np.arange(len(self.table)), self.table.lengths)
            scaled = (self.table.filled(self.season) - self.scales.center[number]) / self.scales.scale[number]
            self._cache["filled"] = np.nan_to_num(scaled, nan=0.0).astype(np.float32)
        return self._cache["filled"]

    @property
    def calendar_ids(self) -> np.ndarray:
        """What the calendar says of each step, int64 (S, C)."""
        if "calendar" not in self._cache:
            self._cache["calendar"] = self.table.step.calendar_ids(self.table.time_us, self.calendar)
        return self._cache["calendar"]

    def context_steps(self) -> tuple[np.ndarray, np.ndarray]:
        """Return positions of each origin's context, int64 (n, T), and whether the series has begun there, bool."""
        places = self.at[:, None] - self.context + np.arange(self.context)
        start = self.table.offsets[:-1][self.series][:, None]
        return np.maximum(places, start), places >= start

    def target_steps(self) -> np.ndarray:
        """Return positions of the steps to predict, int64 (n, K)."""
        return np.asarray(self.at[:, None] + np.arange(self.horizon))

    def contexts(self) -> np.ndarray:
        """Return contexts on the scale of the training part, the first value repeated in front, float32 (n, T, V)."""
        return self.filled[self.context_steps()[0]]

    def targets(self) -> np.ndarray:
        """Return the true values in their own unit, NaN where the log has none, float64 (n, K, V)."""
        return self.table.values[self.target_steps()]

    @property
    def center(self) -> np.ndarray:
        """Mean of the training part of each origin's series, float64 (n, V)."""
        return self.scales.center[self.series]

    @property
    def scale(self) -> np.ndarray:
        """Standard deviation of the training part of each origin's series, float64 (n, V)."""
        return self.scales.scale[self.series]

    @property
    def names(self) -> np.ndarray:
        """Name of each origin's series, object (n,)."""
        return np.array(self.table.names, dtype=object)[self.series]


def replace_origins(origins: Origins, series: np.ndarray, at: np.ndarray) -> Origins:
    """Return other origins of the same table, which share what was computed of it."""
    again = replace(origins, series=series, at=at)
    again.__dict__["_cache"] = origins._cache
    return again


def origins_between(
    table: SeriesTable, begin_us: int, end_us: int, context: int, horizon: int, *, stride: int = 1
) -> tuple[np.ndarray, np.ndarray, int]:
    """Return origins whose K steps all lie in begin_us <= time < end_us.

    The context is whole, or half of what a series too short for that has. Origins that see less than half of their
    context, or have no value to be judged on, are left out.

    Args:
        table: the series.
        begin_us, end_us: the part.
        context: T.
        horizon: K.
        stride: steps between two origins of a series, counted from its first one in the part.

    Returns:
        Numbers of the series and positions of the origins, int64 (n,) each, and how many were left out for gaps.

    >>> from habitus.data.series.step import Step
    >>> table = SeriesTable(("a",), ("x",), np.array([0, 9]), np.arange(9.0)[:, None], np.arange(9), Step(1))
    >>> origins_between(table, 0, 9, context=4, horizon=2)[1].tolist()
    [4, 5, 6, 7]
    """
    known = np.concatenate([[0], np.cumsum(table.seen.any(axis=1))])
    found, n_gaps = [], 0
    for number, (start, stop) in enumerate(zip(table.offsets[:-1], table.offsets[1:], strict=True)):
        time_us = table.time_us[start:stop]
        low, high = np.searchsorted(time_us, [begin_us, end_us])
        whole = high >= context + horizon
        first = max(low, context if whole else max(1, (high - horizon) // 2))
        at = np.arange(first, high - horizon + 1, stride) + start
        begin = np.maximum(at - context, start)
        enough = known[at] - known[begin] >= np.maximum(_SEEN_SHARE * (at - begin), 1)
        usable = enough & (known[at + horizon] > known[at])
        n_gaps += int((~usable).sum())
        found.append(np.stack([np.full(usable.sum(), number), at[usable]]))
    both = np.concatenate(found, axis=1).astype(np.int64)
    return both[0], both[1], n_gaps


def measure_scales(table: SeriesTable, until_us: int, context: int, season: int) -> Scales:
    """Return the scales of each series from its steps before a moment.

    A series that begins later is measured on its first steps, at most a context, which are the past of its origins.
    """
    n, n_variables = len(table), len(table.variables)
    center, scale, naive = np.zeros((n, n_variables)), np.ones((n, n_variables)), np.full((n, n_variables), np.nan)
    for number, (start, stop) in enumerate(zip(table.offsets[:-1], table.offsets[1:], strict=True)):
        until = int(np.searchsorted(table.time_us[start:stop], until_us))
        until = until or min(context, max(1, (stop - start) // 2))
        own = table.values[start : start + until]
        for variable in range(n_variables):
            values = own[:, variable]
            seen = values[~np.isnan(values)]
            if len(seen):
                center[number, variable], spread = seen.mean(), seen.std()
                scale[number, variable] = spread if spread > 0 else 1.0
            apart = np.abs(values[season:] - values[:-season])
            if (apart[~np.isnan(apart)] > 0).any():
                naive[number, variable] = np.nanmean(apart)
    return Scales(center, scale, naive)
