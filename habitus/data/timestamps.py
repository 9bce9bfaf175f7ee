"""Timestamps: every way of writing a moment becomes a UTC time in microseconds, or a reason why not.

Named rules. Zoned times become UTC; naive ones need `time_zone` (a local hour that daylight saving skips is
rejected, one that it repeats is taken as the earlier). Text is ISO 8601. Dates are midnight UTC. Numbers are
epochs in one unit a column, given or inferred from the column's median, and a value of another magnitude is
rejected. Valid: from 1970-01-02 (an epoch of zero is how systems write "no time") to before 2100.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal
from zoneinfo import ZoneInfo

import polars as pl

from habitus.data.columns import MISSING_TOKENS, Check, Reading, as_text, parsed
from habitus.data.sources import Source
from habitus.data.time_text import NAIVE, SKIPPED, parse_times
from habitus.errors import ConfigError, DataError

TimeUnit = Literal["s", "ms", "us", "ns"]

UNITS: tuple[TimeUnit, ...] = ("s", "ms", "us", "ns")
UTC_TIME = pl.Datetime("us", "UTC")
FIRST, END = datetime(1970, 1, 2, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
_UNITS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
# Milliseconds and finer start in 1973, so that a number belongs to one unit only: 1.6e9 is 2020 in seconds, and
# would be 1970-01-19 in milliseconds.
_LOWEST = {"s": 86_400, "ms": 10**11, "us": 10**14, "ns": 10**17}
_END_S = int(END.timestamp())
_RANGE = "is outside 1970-01-02 to 2099-12-31"
_NAIVE_REASON = "has no time zone"
_SKIPPED = "is a local hour that daylight saving skips"
_TEXT_SAMPLE = 1000


@dataclass(frozen=True)
class TimeColumn:
    """How a time column is read: the reading, the epoch unit it is in (None: not numbers), and notes."""

    reading: Reading
    unit: TimeUnit | None = None
    notes: tuple[str, ...] = ()


def read_time(source: Source, name: str, *, time_zone: str | None = None, unit: TimeUnit | None = None) -> TimeColumn:
    """Decide how a time column is read.

    Args:
        source: the table.
        name: its column.
        time_zone: zone of times written without one; None refuses them.
        unit: unit of epoch numbers; None infers it.

    >>> from habitus.data.sources import open_source
    >>> read_time(open_source(pl.DataFrame({"ts": [1_600_000_000]})), "ts").unit
    's'
    """
    _check_options(time_zone, unit)
    dtype = source.columns[name]
    if dtype in (pl.String, pl.Categorical) or isinstance(dtype, pl.Enum):
        return _from_text(source, name, time_zone, unit)
    if dtype.is_numeric():
        return _from_epoch(source, name, unit)
    if dtype == pl.Date:
        return TimeColumn(_from_date(name), notes=(f"Dates in '{name}' are read as midnight UTC.",))
    if isinstance(dtype, pl.Datetime):
        return TimeColumn(_from_datetime(source, name, dtype, time_zone))
    if dtype == pl.Null:
        return TimeColumn(_reading(name, pl.lit(None, UTC_TIME), pl.col(name).is_null(), ()))
    raise DataError(f"Column '{name}' of {source.label} holds {dtype}, which is not a time; {_TAKES}.")


_TAKES = 'give times such as "2024-01-31T09:30:00Z", times with a zone, dates, or epoch numbers'


def naive_sentence(name: str, label: str) -> str:
    """Say that times have no zone, and what to do.

    >>> naive_sentence("timestamp", "'log.csv'")[:64]
    "Times in column 'timestamp' of 'log.csv' have no time zone. If t"
    """
    return (
        f"Times in column '{name}' of {label} have no time zone. If they are UTC, say time_zone=\"UTC\" (command line: "
        '--time-zone UTC); otherwise name the zone, such as time_zone="Asia/Shanghai".'
    )


def _check_options(time_zone: str | None, unit: str | None) -> None:
    if unit is not None and unit not in _UNITS:
        raise ConfigError(f"time_unit={unit!r} is not a unit; use one of {', '.join(_UNITS)}.")
    try:
        ZoneInfo(time_zone or "UTC")
    except (ValueError, OSError, LookupError) as error:
        advice = 'use "UTC" or a name such as "Asia/Shanghai"'
        raise ConfigError(f"time_zone={time_zone!r} is not a time zone; {advice}.") from error


def _reading(name: str, value: pl.Expr, missing: pl.Expr, checks: tuple[Check, ...]) -> Reading:
    outside = parsed(name).is_null() | (parsed(name) < FIRST) | (parsed(name) >= END)
    return Reading(name, value, (Check("is missing", missing), *checks, Check(_RANGE, outside)))


def _from_date(name: str) -> Reading:
    column = pl.col(name)
    inside = pl.when((column >= FIRST.date()) & (column < END.date())).then(column)  # others may not fit microseconds
    return _reading(name, inside.cast(pl.Datetime("us")).dt.replace_time_zone("UTC"), column.is_null(), ())


def _from_datetime(source: Source, name: str, dtype: pl.Datetime, time_zone: str | None) -> Reading:
    column = pl.col(name)
    if dtype.time_zone is not None:
        low, high = FIRST.astimezone(ZoneInfo(dtype.time_zone)), END.astimezone(ZoneInfo(dtype.time_zone))
        inside = pl.when(column.is_between(low, high)).then(column) if dtype.time_unit == "ms" else column
        return _reading(name, inside.dt.convert_time_zone("UTC").cast(UTC_TIME), column.is_null(), ())
    if time_zone is None:
        raise DataError(naive_sentence(name, source.label))
    near = column.is_between(datetime(1969, 12, 31), datetime(2100, 1, 3))
    local = pl.when(near).then(column).cast(pl.Datetime("us"))
    utc = _to_utc(local, time_zone)
    return _reading(name, utc, column.is_null(), (Check(_SKIPPED, near & parsed(name).is_null()),))


def _to_utc(local: pl.Expr, time_zone: str) -> pl.Expr:
    zoned = local.dt.replace_time_zone(time_zone, ambiguous="earliest", non_existent="null")
    return zoned.dt.convert_time_zone("UTC")


# --- epoch numbers ---


def _from_epoch(source: Source, name: str, unit: TimeUnit | None) -> TimeColumn:
    numbers = pl.col(name)
    notes: tuple[str, ...] = ()
    dtype = source.columns[name]
    if not dtype.is_integer():
        numbers = numbers.cast(pl.Float64).fill_nan(None)
    elif dtype not in (pl.Int64, pl.UInt64, pl.Int128, pl.UInt128):
        numbers = numbers.cast(pl.Int64)  # or the product with microseconds would overflow
    if unit is None:
        unit, notes = _infer_unit(source, name, numbers)
    return TimeColumn(_epoch_reading(name, numbers, unit), unit, notes)


def _infer_unit(source: Source, name: str, numbers: pl.Expr) -> tuple[TimeUnit, tuple[str, ...]]:
    """Return the unit of the median's magnitude; counting magnitudes needs one pass and no sorting."""
    bounds = [_LOWEST["ms"], _LOWEST["us"], _LOWEST["ns"]]
    usable = pl.when(numbers >= _LOWEST["s"]).then(numbers)  # zero and less stand for "no time"
    below = [(usable < bound).sum().alias(str(bound)) for bound in bounds]
    found = source.total(lambda frame: frame.select(usable.count().alias("n"), *below))
    counts = [found[str(bound)] for bound in bounds]
    unit: TimeUnit = next((u for u, count in zip(UNITS, counts, strict=False) if count >= found["n"] / 2), "ns")
    note = f"Numbers in '{name}' are read as {_UNITS[unit]} since 1970 (UTC), by their median; time_unit= overrides it."
    return unit, (note,)


def _epoch_reading(name: str, numbers: pl.Expr, unit: TimeUnit) -> Reading:
    strange = [Check(f"looks like {_UNITS[u]}, in a column of {_UNITS[unit]}", fits(numbers, u)) for u in _others(unit)]
    calendar = [Check(_CALENDAR, _is_calendar(numbers))] if unit == "s" else []
    value = epoch_to_time(numbers, unit)
    return _reading(name, value, numbers.is_null(), (*strange, *calendar))


_CALENDAR = "looks like a date written as YYYYMMDD; write it as 2024-01-31"


def _others(unit: TimeUnit) -> list[TimeUnit]:
    return [other for other in UNITS if other != unit]


def fits(numbers: pl.Expr, unit: TimeUnit) -> pl.Expr:
    """Return whether numbers are in the valid range of times when read in a unit."""
    return ((numbers >= _LOWEST[unit]) & (numbers < _END_S * _PER_SECOND[unit])).fill_null(False)


def _is_calendar(numbers: pl.Expr) -> pl.Expr:
    return numbers.is_between(19_000_101, 21_001_231).fill_null(False)


def epoch_to_time(numbers: pl.Expr, unit: TimeUnit) -> pl.Expr:
    """Return UTC times of epoch numbers, null where they are outside the valid range of the unit."""
    usable = fits(numbers, unit) & ~_is_calendar(numbers) if unit == "s" else fits(numbers, unit)
    inside = pl.when(usable).then(numbers)
    if unit == "ns":
        return (inside.cast(pl.Int64) // 1000).cast(UTC_TIME)
    return (inside * (10**6 // _PER_SECOND[unit])).round(0).cast(pl.Int64).cast(UTC_TIME)


# --- text ---


def _from_text(source: Source, name: str, time_zone: str | None, unit: TimeUnit | None) -> TimeColumn:
    text = as_text(name, source.columns[name]).str.strip_chars()
    sample = source.head(lambda frame: frame.select(text.alias("text")), _TEXT_SAMPLE)["text"]
    numbers = text.cast(pl.Float64, strict=False).fill_nan(None)
    notes: tuple[str, ...] = ()
    if sample.cast(pl.Float64, strict=False).is_finite().any() and unit is None:
        unit, notes = _infer_unit(source, name, numbers)
    if sample.str.contains(r"^\d{4}-\d{2}-\d{2}$").any():
        notes = (*notes, f"Dates without an hour in '{name}' are read as midnight UTC.")
    return TimeColumn(_text_reading(name, text, numbers, time_zone, unit), unit, notes)


def _text_reading(name: str, text: pl.Expr, numbers: pl.Expr, time_zone: str | None, unit: TimeUnit | None) -> Reading:
    value = text.map_batches(lambda s: parse_times(s, time_zone), return_dtype=UTC_TIME, is_elementwise=True)
    missing = text.is_null() | text.is_in((*MISSING_TOKENS, "NaT"))
    marks = (
        Check(_NAIVE_REASON, (parsed(name) == _marker(NAIVE)).fill_null(False)),
        Check(_SKIPPED, (parsed(name) == _marker(SKIPPED)).fill_null(False)),
    )
    strange = Check("is not a time", parsed(name).is_null() & (numbers.is_null() if unit else True))
    if unit is None:
        return _reading(name, value, missing, (*marks, strange))
    epoch = _epoch_reading(name, numbers, unit)
    return _reading(name, pl.coalesce(value, epoch.value), missing, (*marks, strange, *epoch.checks[1:-1]))


def _marker(microseconds: int) -> pl.Expr:
    return pl.lit(microseconds).cast(UTC_TIME)
