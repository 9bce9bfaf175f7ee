"""Rows: apply readings to a source, keep the good rows lazily, count the bad ones in one streaming pass.

A row is rejected under its first bad column, in the order of the readings. Row numbers survive, so that ties keep
the log's order and a sample names its file and row. The log itself is never held in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from habitus.data.columns import Check, Reading, parsed_alias
from habitus.data.rejects import MAX_SAMPLES, Reject, Rejects, printed
from habitus.data.sources import ROW, Source, readable

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
    checks = [(reading, check) for reading in readings for check in reading.checks]
    coded = source.frame.with_columns([parsed_alias(reading) for reading in readings]).with_columns(_code(checks))
    with readable(source.label):
        counted = _tally(coded, readings, len(checks))
        samples = _samples(source, coded, checks) if any(counted[f"bad{i}"] for i in range(len(checks))) else []
    counts: dict[str, int] = {}
    for i, (reading, check) in enumerate(checks):  # two checks may share a reason
        reason, n = f"'{reading.name}' {check.reason}", counted[f"bad{i}"]
        counts |= {reason: counts.get(reason, 0) + n} if n else {}
    values = [pl.col("\0" + reading.name).alias(reading.output or reading.name) for reading in readings]
    frame = coded.filter(pl.col(_CODE) == 0).select(*values, ROW)
    return Rows(frame, Rejects(counted[_TOTAL], counts, samples), _infinite_notes(readings, counted))


def _code(checks: Sequence[tuple[Reading, Check]]) -> pl.Expr:
    """Return 0 for good rows, else 1 + the number of the first check that holds."""
    if not checks:
        return pl.lit(0, pl.UInt16).alias(_CODE)
    found = [pl.when(check.bad).then(pl.lit(i + 1, pl.UInt16)) for i, (_, check) in enumerate(checks)]
    return pl.coalesce(*found, pl.lit(0, pl.UInt16)).alias(_CODE)


def _tally(coded: pl.LazyFrame, readings: Sequence[Reading], n_checks: int) -> dict[str, int]:
    bad = [(pl.col(_CODE) == i + 1).sum().alias(f"bad{i}") for i in range(n_checks)]
    infinite = [
        (reading.infinite & (pl.col(_CODE) == 0)).sum().alias("infinite:" + reading.name)
        for reading in readings
        if reading.infinite is not None
    ]
    return coded.select(pl.len().alias(_TOTAL), *bad, *infinite).collect(engine="streaming").row(0, named=True)


def _samples(source: Source, coded: pl.LazyFrame, checks: Sequence[tuple[Reading, Check]]) -> list[Reject]:
    raw = list(dict.fromkeys(reading.name for reading, _ in checks))
    shown = [_showable(name, source.columns[name]) for name in raw]
    found = coded.filter(pl.col(_CODE) > 0).select(ROW, _CODE, *shown).head(MAX_SAMPLES).collect(engine="streaming")
    samples = []
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
