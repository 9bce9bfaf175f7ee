"""Times written as text: ISO 8601 with an offset or Z, naive, or a date alone.

Parses whole columns, never row by row: Arrow reads a column written in one plain way (ten times as fast), otherwise
each way of writing sees only what the earlier ones left; both give the same answers. Accepts `T` or a space, seconds
left out, fractions to nine digits (cut to microseconds), offsets `Z`, `+02`, `+0200`, `+02:00`, ` UTC`. Where a zone
is missing the answer is a marker below every valid time.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
import pyarrow as pa

NAIVE, SKIPPED = -1, -2  # markers, in microseconds since 1970: no zone given; an hour skipped by daylight saving
_UTC_TIME = pl.Datetime("us", "UTC")
_AWARE = (
    "%Y-%m-%dT%H:%M:%S%.f%#z",
    "%Y-%m-%d %H:%M:%S%.f%#z",
    "%Y-%m-%dT%H:%M%#z",
    "%Y-%m-%d %H:%M%#z",
    "%Y-%m-%d %H:%M:%S%.f %#z",
    "%Y%m%dT%H%M%S%.f%#z",
)
_NAIVE = ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y%m%dT%H%M%S%.f")
_PLAIN = r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?"
_OFFSET = r"(Z|[+-]\d{2}(:?\d{2})?)"


def parse_times(texts: pl.Series, time_zone: str | None = None) -> pl.Series:
    """Return UTC times; null where the text is not a time, a marker where its zone is unknown.

    >>> parse_times(pl.Series(["2024-01-31T10:00:00+02:00", "soon"])).dt.to_string("%H:%M").to_list()
    ['08:00', None]
    """
    aware = _plain(texts, _PLAIN + _OFFSET + "$", "UTC")
    if aware is not None:
        return aware
    local = _plain(texts, _PLAIN + "$", None)
    return _parse_mixed(texts, time_zone) if local is None else _localised(local, time_zone).alias(texts.name)


def _plain(texts: pl.Series, pattern: str, zone: str | None) -> pl.Series | None:
    """Return the times of a column that is written in one plain way, else None."""
    if texts.null_count() == len(texts) or not texts.str.contains(pattern).all():
        return None
    try:
        times = texts.to_arrow().cast(pa.timestamp("us", zone))
    except pa.ArrowInvalid:  # a 13th month, say
        return None
    return pl.Series(texts.name, times)


def _parse_mixed(texts: pl.Series, time_zone: str | None) -> pl.Series:
    cleaned = texts.str.strip_chars().str.replace(r"\s?(UTC|GMT|[zZ])$", "+00:00")
    aware = _first_match(cleaned, _AWARE, "UTC")
    rest = _only(cleaned, aware.is_null())
    if rest.null_count() == len(rest):
        return aware.alias(texts.name)
    days = rest.str.to_datetime("%Y-%m-%d", strict=False, time_unit="us").dt.replace_time_zone("UTC")
    local = _first_match(_only(rest, days.is_null()), _NAIVE, None)
    merged = pl.DataFrame({"aware": aware, "days": days, "local": _localised(local, time_zone)})
    return merged.select(pl.coalesce("aware", "days", "local").alias(texts.name)).to_series()


def _first_match(texts: pl.Series, formats: Sequence[str], zone: str | None) -> pl.Series:
    found = _parse(texts, formats[0], zone)
    for form in formats[1:]:
        rest = _only(texts, found.is_null())
        if rest.null_count() == len(rest):
            break
        found = found.zip_with(found.is_not_null(), _parse(rest, form, zone))
    return found


def _parse(texts: pl.Series, form: str, zone: str | None) -> pl.Series:
    return texts.str.to_datetime(form, strict=False, time_unit="us", time_zone=zone)


def _only(values: pl.Series, keep: pl.Series) -> pl.Series:
    return values.zip_with(keep, pl.Series(values.name, [None], dtype=values.dtype))


def _localised(local: pl.Series, time_zone: str | None) -> pl.Series:
    """Return naive times as UTC; markers where that cannot be done."""
    column = pl.col("local")
    if time_zone is None:
        utc, marker = pl.lit(None, _UTC_TIME), NAIVE
    else:
        zoned = column.dt.replace_time_zone(time_zone, ambiguous="earliest", non_existent="null")
        utc, marker = zoned.dt.convert_time_zone("UTC"), SKIPPED
    marked = pl.when(column.is_not_null() & utc.is_null()).then(pl.lit(marker).cast(_UTC_TIME)).otherwise(utc)
    return local.alias("local").to_frame().select(marked).to_series()
