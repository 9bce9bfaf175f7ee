"""Rows: apply readings to a source, keep the good rows lazily, count the bad ones in one streaming pass.

A row is rejected under its first bad column, in the order of the readings. Row numbers survive, so that ties keep
the log's order and a sample names its file and row. The log itself is never held in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import polars as pl

from habitus.data.columns import Check, Reading, parsed_alias
from habitus.data.rejects import MAX_SAMPLES, Reject, Rejects, printed
from habitus.data.sources import ROW, Source, readable

REASON = "_reason"
_PER_DAY = {"ms": 86_400 * 10**3, "us": 86_400 * 10**6, "ns": 86_400 * 10**9}
_CALENDAR_DAYS = 100_000  # about 270 years about 1970: within every precision
_CODE, _TOTAL = "\0\0code", "\0\0rows"  # a parsed column is "\0" and its name: no column can take these


@dataclass(frozen=True)
class Rows:
    """The good rows (columns as read, and `_row`), what was rejected, and notes."""

    frame: pl.LazyFrame
    rejects: Rejects
    notes: tuple[str, ...] = ()


def read_rows(source: Source, readings: Sequence[Reading]) -> Rows:
    """Read a source through its readings.

    >>> from habitus.data.columns import read_entity
    >>> from habitus.data.sources import open_source
    >>> source = open_source(pl.DataFrame({"user_id": ["a", None]}))
    >>> rows = read_rows(source, [read_entity("user_id", pl.String(), source.label)])
    >>> rows.rejects.summary()
    "1 of 2 rows were rejected: 1 because 'user_id' is missing."
    """
    checks = _checks(readings)
    with readable(source.label):
        counted = source.total(partial(_tally, readings=readings))
        samples = _samples(source, readings) if any(counted[f"bad{i}"] for i in range(len(checks))) else []
    counts: dict[str, int] = {}
    for i, (reading, check) in enumerate(checks):  # two checks may share a reason
        reason, n = f"'{reading.name}' {check.reason}", counted[f"bad{i}"]
        counts |= {reason: counts.get(reason, 0) + n} if n else {}
    frame = source.scan(partial(_good, readings=readings))
    return Rows(frame, Rejects(counted[_TOTAL], counts, samples), _infinite_notes(readings, counted))


def judge_rows(source: Source, readings: Sequence[Reading]) -> pl.DataFrame:
    """Return every row as it is read, in order, with the reason for which it would be rejected in `_reason`.

    For logs that arrive in small batches, where each bad row is handed on by itself: reads all into memory.

    >>> from habitus.data.columns import read_entity
    >>> from habitus.data.sources import open_source
    >>> source = open_source(pl.DataFrame({"user_id": ["a", None]}))
    >>> judge_rows(source, [read_entity("user_id", pl.String(), source.label)])["_reason"].to_list()
    [None, "'user_id' is missing"]
    """
    checks = _checks(readings)
    reasons = [None, *(f"'{reading.name}' {check.reason}" for reading, check in checks)]
    values = [pl.col("\0" + reading.name).alias(reading.output or reading.name) for reading in readings]
    with readable(source.label):
        found = _coded(source.frame, readings).select(*values, ROW, _CODE).collect()
    return found.with_columns(pl.Series(REASON, reasons, pl.String).gather(found[_CODE])).drop(_CODE)


def _code(checks: Sequence[tuple[Reading, Check]]) -> pl.Expr:
    """Return 0 for good rows, else 1 + the number of the first check that holds."""
    if not checks:
        return pl.lit(0, pl.UInt16).alias(_CODE)
    found = [pl.when(check.bad).then(pl.lit(i + 1, pl.UInt16)) for i, (_, check) in enumerate(checks)]
    return pl.coalesce(*found, pl.lit(0, pl.UInt16)).alias(_CODE)


def _coded(frame: pl.LazyFrame, readings: Sequence[Reading]) -> pl.LazyFrame:
    """Add what each reading gives, and the code of the first check that holds."""
    parsed = frame.with_columns([parsed_alias(reading) for reading in readings])
    return parsed.with_columns(_code(_checks(readings)))


def _checks(readings: Sequence[Reading]) -> list[tuple[Reading, Check]]:
    return [(reading, check) for reading in readings for check in reading.checks]


def _good(frame: pl.LazyFrame, readings: Sequence[Reading]) -> pl.LazyFrame:
    values = [pl.col("\0" + reading.name).alias(reading.output or reading.name) for reading in readings]
    return _coded(frame, readings).filter(pl.col(_CODE) == 0).select(*values, ROW)


def _tally(frame: pl.LazyFrame, readings: Sequence[Reading]) -> pl.LazyFrame:
    bad = [(pl.col(_CODE) == i + 1).sum().alias(f"bad{i}") for i in range(len(_checks(readings)))]
    infinite = [
        (reading.infinite & (pl.col(_CODE) == 0)).sum().alias("infinite:" + reading.name)
        for reading in readings
        if reading.infinite is not None
    ]
    return _coded(frame, readings).select(pl.len().alias(_TOTAL), *bad, *infinite)


def _bad(frame: pl.LazyFrame, readings: Sequence[Reading], shown: Sequence[pl.Expr]) -> pl.LazyFrame:
    return _coded(frame, readings).filter(pl.col(_CODE) > 0).select(ROW, _CODE, *shown)


def _samples(source: Source, readings: Sequence[Reading]) -> list[Reject]:
    checks, samples = _checks(readings), []
    shown = [_showable(name, source.columns[name]) for name in dict.fromkeys(reading.name for reading, _ in checks)]
    found = source.head(partial(_bad, readings=readings, shown=shown), MAX_SAMPLES)
    for row in found.sort(ROW).iter_rows(named=True):
        reading, check = checks[row[_CODE] - 1]
        file, number = source.locate(row[ROW])
        samples.append(Reject(file, number, reading.name, printed(row[reading.name]), check.reason))
    return samples


def _showable(name: str, dtype: pl.DataType) -> pl.Expr:
    """Return a column that Python can hold: times beyond its calendar are shown as their number."""
    if not dtype.is_temporal():
        return pl.col(name)
    number = pl.col(name).to_physical()
    per_day = 1 if dtype == pl.Date else _PER_DAY[getattr(dtype, "time_unit", "us")]
    usual = pl.when(number.is_between(-_CALENDAR_DAYS * per_day, _CALENDAR_DAYS * per_day)).then(pl.col(name))
    return pl.coalesce(usual.dt.to_string("iso"), number.cast(pl.String)).alias(name)


def _infinite_notes(readings: Sequence[Reading], counted: dict[str, int]) -> tuple[str, ...]:
    counts = {reading.name: counted.get("infinite:" + reading.name, 0) for reading in readings}
    return tuple(f"{n:,} infinite numbers in '{name}' are read as missing." for name, n in counts.items() if n)
