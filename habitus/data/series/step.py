"""The step of regular series: found from the times, counted, continued, and what the calendar says of it.

A step is a fixed span (15 minutes, an hour, a week) or a number of calendar months. The calendar is that of UTC, as
everywhere: hours of naive times that were read as UTC are the hours that were written. Knows nothing about values.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from habitus.data.clock import DAY_US, HOUR_US
from habitus.errors import ConfigError

_MINUTE_US = HOUR_US // 60
_UNITS_US = {
    "w": 7 * DAY_US, "d": DAY_US, "h": HOUR_US, "m": _MINUTE_US, "s": 1_000_000, "ms": 1_000, "us": 1,
}  # fmt: skip
_MONTH = range(28, 32)  # days
_MONTHS = {1: _MONTH, 3: range(89, 93), 6: range(181, 185), 12: range(365, 367)}
_WRITTEN = re.compile(r"(\d+)\s*(mo|ms|us|w|d|h|m|s)")
_MOST_SLOTS = 96  # of a day
_YEARS_SEEN = 2  # a month that training saw once tells which year it is, not what the month does


@dataclass(frozen=True)
class Step:
    """The distance between two values of a series.

    Args:
        count: microseconds, or months.
        is_months: which of the two.

    >>> print(Step.parse("15m"), Step.parse("1mo"))
    15m 1mo
    """

    count: int
    is_months: bool = False

    @classmethod
    def parse(cls, text: str) -> Step:
        """Read a step such as 15m, 1h, 1d, 1w or 1mo."""
        found = _WRITTEN.fullmatch(text.strip())
        if not found or int(found[1]) < 1:
            raise ConfigError(f"step={text!r} is no step; write a number and a unit, such as 15m, 1h, 1d, 1w or 1mo.")
        number, unit = int(found[1]), found[2]
        return cls(number, True) if unit == "mo" else cls(number * _UNITS_US[unit])

    @classmethod
    def infer(cls, time_us: np.ndarray, series: np.ndarray) -> Step | None:
        """Return the commonest distance of neighbours of one series; None where no series has two values.

        Args:
            time_us: int64 (n,), rising within a series.
            series: int (n,), whose value it is, in blocks.

        >>> print(Step.infer(np.array([0, 2, 3, 4]) * HOUR_US, np.zeros(4, int)))
        1h
        """
        apart = np.diff(time_us)[np.diff(series) == 0]
        apart = apart[apart > 0]
        if not len(apart):
            return None
        values, counts = np.unique(apart, return_counts=True)
        commonest = int(values[np.argmax(counts)])
        days = round(commonest / DAY_US)
        for months, allowed in _MONTHS.items():
            if days in allowed and commonest >= 28 * DAY_US:
                return cls(months, True)
        return cls(commonest)

    def numbers(self, time_us: np.ndarray) -> np.ndarray:
        """Return the number of each time on the grid; times of one step share it, int64 (n,).

        Months are calendar months, so that the first and the last day of one are the same step.
        """
        if self.is_months:
            return _months(time_us) // self.count
        return time_us // self.count

    def is_on_grid(self, time_us: np.ndarray, first_us: np.ndarray) -> np.ndarray:
        """Return whether each time is whole steps after its series' first, bool (n,)."""
        if self.is_months:
            return (_months(time_us) - _months(first_us)) % self.count == 0
        return (time_us - first_us) % self.count == 0

    def after(self, time_us: int, n: np.ndarray) -> np.ndarray:
        """Return the times n steps after one, int64 (n,); the end of a month stays one.

        >>> import datetime as dt
        >>> end = int(dt.datetime(2024, 1, 31, tzinfo=dt.UTC).timestamp() * 1e6)
        >>> np.array(Step(1, True).after(end, np.array([1, 3])), "M8[us]").astype("M8[D]").astype(str).tolist()
        ['2024-02-29', '2024-04-30']
        """
        if not self.is_months:
            return time_us + n * self.count
        day_start = np.array(time_us, "M8[us]").astype("M8[D]")
        month = day_start.astype("M8[M]")
        day, within = int((day_start - month.astype("M8[D]")).astype(int)), time_us % DAY_US
        is_end = (day_start + 1).astype("M8[M]") != month
        months = month + n * self.count
        lengths = ((months + 1).astype("M8[D]") - months.astype("M8[D]")).astype(int)
        days = months.astype("M8[D]") + (lengths - 1 if is_end else np.minimum(day, lengths - 1))
        return np.asarray(days.astype("M8[us]").astype(np.int64) + within)

    @property
    def seasons(self) -> tuple[int, ...]:
        """Steps after which values of this step usually repeat, the shortest first: a day, a week, a year.

        >>> Step.parse("1h").seasons, Step.parse("1mo").seasons
        ((24, 168), (12,))
        """
        if self.is_months:
            return (12 // self.count,) if 12 % self.count == 0 else (1,)
        if self.count >= 6 * DAY_US:
            return (max(1, round(365.25 * DAY_US / self.count)),)
        week = max(1, round(7 * DAY_US / self.count))
        return (week,) if self.count >= DAY_US else (max(1, round(DAY_US / self.count)), week)

    def calendar(self, span_us: int) -> dict[str, int]:
        """Return what the calendar can say of a step, and how many values each has.

        Args:
            span_us: length of the training part, which decides whether months were seen twice.

        >>> Step.parse("1h").calendar(365 * DAY_US)
        {'slot': 24, 'weekday': 7}
        """
        years = span_us / (365 * DAY_US) >= _YEARS_SEEN
        if self.is_months:
            return {"month": 12} if years and self.count < 12 else {}
        if self.count > DAY_US:
            return {"month": 12} if years and self.count <= 31 * DAY_US else {}
        slots = {"slot": -(-DAY_US // self._slot_us)} if self.count < DAY_US else {}
        return slots | {"weekday": 7} | ({"month": 12} if years else {})

    def calendar_ids(self, time_us: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
        """Return what the calendar says of each time, int64 (n, C)."""
        known = {
            "slot": lambda: time_us % DAY_US // self._slot_us,
            "weekday": lambda: (time_us // DAY_US + 3) % 7,  # Monday is 0
            "month": lambda: _months(time_us) % 12,
        }
        columns = [known[name]() for name in names]
        return np.stack(columns, axis=1) if columns else np.zeros((len(time_us), 0), np.int64)

    @property
    def _slot_us(self) -> int:
        return max(self.count, DAY_US // _MOST_SLOTS)

    def __str__(self) -> str:
        """Return it as it is written."""
        if self.is_months:
            return f"{self.count}mo"
        unit = next(unit for unit, size in _UNITS_US.items() if self.count % size == 0)
        return f"{self.count // _UNITS_US[unit]}{unit}"


def _months(time_us: np.ndarray) -> np.ndarray:
    return np.asarray(np.asarray(time_us).astype("M8[us]").astype("M8[M]").astype(np.int64))
