"""Series with every step in its place, and how a table of them is read (see `read.py` for the reading).

A step that the log lacks, or whose value is missing, is NaN: the network reads it filled and flagged, and neither the
loss nor a metric counts it. Filling looks back only. Knows nothing about windows, models or torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np

from habitus.data.rejects import Rejects
from habitus.data.series.step import Step
from habitus.data.slices import offsets_of
from habitus.errors import ConfigError


@dataclass(frozen=True)
class SeriesData:
    """How a table of series is read. What is None is inferred.

    Args:
        entity: column that names the series; without it, and without a column of a well-known name, all rows are
            one series.
        time: column of the time.
        time_zone: zone of naive times; without it they are refused.
        time_unit: unit of times that are plain numbers.
        step: distance of two values, such as 15m, 1h, 1d, 1mo; None takes the commonest.
        season: steps after which values repeat, which MASE and the seasonal naive rival read; None: a day for steps
            below a day, a week for days, a year for longer ones.
        drop: columns that are no variable, where the variables are not named.

    >>> SeriesData(step="1h").season is None
    True
    """

    entity: str | None = None
    time: str | None = None
    time_zone: str | None = None
    time_unit: Literal["s", "ms", "us", "ns"] | None = None
    step: str | None = None
    season: int | None = None
    drop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.season is not None and self.season < 1:
            raise ConfigError(f"season={self.season} is no number of steps; use 1 or more, such as 24 for hours.")


@dataclass(frozen=True)
class SeriesTable:
    """Series on their grids; S steps in all, V variables.

    Args:
        names: of the n series, as text.
        variables: names of the value columns.
        offsets: int64 (n+1), series i owns steps offsets[i]:offsets[i+1].
        values: float64 (S, V), NaN where the log has no value.
        time_us: int64 (S,), microseconds since 1970 in UTC.
        step: the distance of two steps.
        entity, time: what the columns were called; entity is None for one series without a name.
        time_unit: unit of times that the log writes as numbers.
        source: where it came from, for sentences.
        notes: sentences to say aloud.
        rejects: rows that could not be read.
        is_integer: whether the log names series by whole numbers.
    """

    names: tuple[str, ...]
    variables: tuple[str, ...]
    offsets: np.ndarray
    values: np.ndarray
    time_us: np.ndarray
    step: Step
    entity: str | None = None
    time: str = "timestamp"
    time_unit: Literal["s", "ms", "us", "ns"] | None = None
    source: str = "the log"
    notes: tuple[str, ...] = ()
    rejects: Rejects = field(default_factory=Rejects)
    is_integer: bool = False

    def __len__(self) -> int:
        return len(self.names)

    @property
    def lengths(self) -> np.ndarray:
        """Steps of each series, int64 (n,)."""
        return np.diff(self.offsets)

    @cached_property
    def seen(self) -> np.ndarray:
        """Whether the log has the value, bool (S, V)."""
        return ~np.isnan(self.values)

    def filled(self, season: int) -> np.ndarray:
        """Return values in which a missing one is that of a season before, else the last one, float64 (S, V).

        Looks back only, so that what a window reads never depends on what comes after it. Before the first value of
        a variable it stays NaN.

        >>> step, nan = Step.parse("1h"), float("nan")
        >>> values = np.array([[1, 2, nan, nan, 5.0]]).T
        >>> table = SeriesTable(("a",), ("x",), np.array([0, 5]), values, np.arange(5), step)
        >>> table.filled(2)[:, 0].tolist(), table.filled(9)[:, 0].tolist()
        ([1.0, 2.0, 1.0, 2.0, 5.0], [1.0, 2.0, 2.0, 2.0, 5.0])
        """
        filled = self.values.copy()
        if self.seen.all():
            return filled
        for start, stop in zip(self.offsets[:-1], self.offsets[1:], strict=True):
            own = filled[start:stop]
            for begin in range(season, len(own), season):
                block = own[begin : begin + season]
                np.copyto(block, own[begin - season : begin - season + len(block)], where=np.isnan(block))
            _fill_last(own)
        return filled

    def continued(self, n: int) -> SeriesTable:
        """Return the table with n steps without values after the end of each series."""
        lengths = self.lengths
        offsets = offsets_of(lengths + n)
        values = np.full((offsets[-1], self.values.shape[1]), np.nan)
        time_us = np.zeros(offsets[-1], np.int64)
        for i, (start, stop) in enumerate(zip(self.offsets[:-1], self.offsets[1:], strict=True)):
            begin, end = offsets[i], offsets[i] + stop - start
            values[begin:end], time_us[begin:end] = self.values[start:stop], self.time_us[start:stop]
            time_us[end : end + n] = self.step.after(int(self.time_us[stop - 1]), np.arange(1, n + 1))
        parts = {name: getattr(self, name) for name in ("entity", "time", "time_unit", "source", "notes", "is_integer")}
        return SeriesTable(
            self.names, self.variables, offsets, values, time_us, self.step, rejects=self.rejects, **parts
        )


def _fill_last(own: np.ndarray) -> None:
    """Fill what is still missing with the value before it, in place."""
    rows = np.where(np.isnan(own), 0, np.arange(len(own))[:, None])
    own[:] = np.take_along_axis(own, np.maximum.accumulate(rows, axis=0), axis=0)
